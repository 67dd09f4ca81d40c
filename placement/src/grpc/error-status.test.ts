import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { PlacementError, type PlacementErrorCode } from '../errors.ts'
import { toStatus } from './error-status.ts'

function trailers(code: PlacementErrorCode, options = {}): unknown {
  const { code: found, metadata } = toStatus(new PlacementError(code, 'x', options)) ?? {}
  return [found, metadata?.getMap()]
}

describe('toStatus', () => {
  it('says whether what is unavailable may have been done', () => {
    expect(trailers('NO_LEADER')).toEqual([status.UNAVAILABLE, { outcome: 'none' }])
    expect(trailers('OUTCOME_UNKNOWN')).toEqual([status.UNAVAILABLE, { outcome: 'unknown' }])
  })

  it('names the leader, and the version that stands in the way', () => {
    const leaderAddress = 'h:1'
    const named = { 'leader-address': leaderAddress }
    expect(trailers('NOT_LEADER', { leaderAddress })).toEqual([status.FAILED_PRECONDITION, named])
    const conflict = [status.ABORTED, { 'current-version': '7' }]
    expect(trailers('CONFLICT', { currentVersion: 7 })).toEqual(conflict)
  })

  it('knows operating errors only', () => {
    expect(toStatus(new Error('a bug'))).toBeUndefined()
  })
})
