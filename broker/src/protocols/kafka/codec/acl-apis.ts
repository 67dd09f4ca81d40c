/** The APIs of what users may do. Source: Kafka's protocol guide. */
import { array, int8, int16, int32, nullableString, string, struct } from './wire-types.ts'

const filter = {
  resourceType: int8,
  resourceName: nullableString(),
  patternType: int8,
  principal: nullableString(),
  host: nullableString(),
  operation: int8,
  permissionType: int8,
}

const rule = { principal: string, host: string, operation: int8, permissionType: int8 }
const resource = { resourceType: int8, resourceName: string, patternType: int8 }
const outcome = { errorCode: int16, errorMessage: nullableString() }

export const DESCRIBE_ACLS = {
  ...{ key: 29, name: 'DescribeAcls', versions: [1, 3], flexible: 2 },
  request: struct(filter),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    resources: array(struct({ ...resource, acls: array(struct(rule)) })),
  }),
} as const

export const CREATE_ACLS = {
  ...{ key: 30, name: 'CreateAcls', versions: [1, 3], flexible: 2 },
  request: struct({ creations: array(struct({ ...resource, ...rule })) }),
  response: struct({ throttleTimeMs: int32, results: array(struct(outcome)) }),
} as const

export const DELETE_ACLS = {
  ...{ key: 31, name: 'DeleteAcls', versions: [1, 3], flexible: 2 },
  request: struct({ filters: array(struct(filter)) }),
  response: struct({
    throttleTimeMs: int32,
    filterResults: array(
      struct({ ...outcome, matchingAcls: array(struct({ ...outcome, ...resource, ...rule })) }),
    ),
  }),
} as const
