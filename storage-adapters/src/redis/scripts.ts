/**
 * The Lua of this adapter. A script declares every key that it touches, checks everything before its first
 * write, and takes no time, no chance and no number above 2^53: heads are compared and stored as bytes.
 *
 * The fence: the stored head must be byte for byte the one that the caller knows, else nothing is written
 * and the stored one is the answer. Any open, commit, close or drop changes it, so an old epoch, an old
 * session, a commit out of order and a second delivery all fail this one comparison. A script whose new
 * head is stored already has run: sending it twice is harmless. It writes the head once more then, since
 * WAIT counts only what its own connection has written.
 */
import { createHash } from 'node:crypto'

export interface Script {
  readonly source: string
  readonly sha: string
}

/** A script of which Redis refuses to run any part when it is out of memory, or one that it always runs. */
function script(flags: string, body: string): Script {
  const source = `#!lua${flags === '' ? '' : ` flags=${flags}`}\n${body.trim()}\n`
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

const fence = `
local head = redis.call('GET', KEYS[1])
if (head or '') ~= ARGV[1] then
  if head ~= ARGV[2] then return head or '' end
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
`

/**
 * KEYS: head, logs, values, keys, streams. ARGV: expected head, new head, what each key but the head is to be when
 * the program touches it (a letter each, `-` when it does not), then the program: the operations of the commit, logs
 * first, heads of logs last, each a letter and its operands.
 */
const commitBody = `
${fence}
local wanted = { l = 'hash', p = 'hash', z = 'zset', s = 'stream', o = 'zset' }
local kinds = ARGV[3]
for at = 1, #kinds do
  local expected = wanted[string.sub(kinds, at, at)]
  if expected then
    local kind = redis.call('TYPE', KEYS[at + 1]).ok
    if kind ~= 'none' and kind ~= expected then
      return redis.error_reply('DAMAGED ' .. KEYS[at + 1] .. ' is a ' .. kind)
    end
  end
end
local at = 4
while at <= #ARGV do
  local kind, a, b, c = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if kind == 'a' then
    redis.call('XADD', KEYS[tonumber(a)], b, 'b', c)
    at = at + 4
  elseif kind == 'p' then
    if redis.call('HSET', KEYS[3], a, b) == 1 then redis.call('ZADD', KEYS[4], 0, a) end
    at = at + 3
  elseif kind == 'l' then
    redis.call('HSET', KEYS[2], a, b)
    at = at + 3
  elseif kind == 't' then
    redis.call('XTRIM', KEYS[tonumber(a)], 'MINID', b)
    at = at + 3
  elseif kind == 'o' then
    redis.call('ZREMRANGEBYLEX', KEYS[tonumber(a)], b, c)
    at = at + 4
  elseif kind == 'x' then
    for _, entry in ipairs(redis.call('XRANGE', KEYS[tonumber(a)], b, c)) do
      redis.call('XDEL', KEYS[tonumber(a)], entry[1])
    end
    at = at + 4
  elseif kind == 'z' then
    redis.call('ZADD', KEYS[tonumber(a)], 0, b)
    at = at + 3
  elseif kind == 'd' then
    redis.call('HDEL', KEYS[3], a)
    redis.call('ZREM', KEYS[4], a)
    at = at + 2
  elseif kind == 'u' then
    redis.call('UNLINK', KEYS[tonumber(a)])
    at = at + 2
  elseif kind == 'g' then
    redis.call('HDEL', KEYS[2], a)
    at = at + 2
  else
    local page
    repeat
      page = redis.call('ZRANGEBYLEX', KEYS[4], a, b, 'LIMIT', 0, 1000)
      if #page > 0 then
        redis.call('HDEL', KEYS[3], unpack(page))
        redis.call('ZREM', KEYS[4], unpack(page))
      end
    until #page < 1000
    at = at + 3
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`

/** Refused as a whole when memory is short. */
export const commitScript = script('', commitBody)
/** For commits that only free: these must run when memory is short. */
export const freeScript = script('allow-oom', commitBody)

/** KEYS: head. Changes nothing but the head: open, close, the tombstone. */
export const headScript = script(
  'allow-oom',
  `
${fence}
redis.call('SET', KEYS[1], ARGV[2])
return 1
`,
)

/** KEYS: head, then keys to remove. ARGV: the tombstone as it must stand. */
export const purgeScript = script(
  'allow-oom',
  `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for at = 2, #KEYS do redis.call('UNLINK', KEYS[at]) end
return 1
`,
)

/**
 * KEYS: values, keys. ARGV: from, to, limit, bytes, direction. Key and value in turn; a page ends when it
 * has that many bytes. A key without a value is answered with false.
 */
export const scanScript = script(
  'no-writes',
  `
local out, bytes, left = {}, 0, tonumber(ARGV[3])
local bytesMax = tonumber(ARGV[4])
local command = ARGV[5] == 'r' and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX'
local from, to = ARGV[1], ARGV[2]
while left > 0 and bytes < bytesMax do
  local count = math.min(left, 500)
  local page = redis.call(command, KEYS[2], from, to, 'LIMIT', 0, count)
  for _, key in ipairs(page) do
    local value = redis.call('HGET', KEYS[1], key)
    out[#out + 1] = key
    out[#out + 1] = value
    bytes = bytes + #key + (value and #value or 0)
    left = left - 1
    from = '(' .. key
    if bytes >= bytesMax then return out end
  end
  if #page < count then return out end
end
return out
`,
)

/** KEYS: values, keys. ARGV: from, limit. The last key of the page, how many, bytes of their values. */
export const countScript = script(
  'no-writes',
  `
local page = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local bytes = 0
for _, key in ipairs(page) do bytes = bytes + redis.call('HSTRLEN', KEYS[1], key) end
return { page[#page] or '', #page, bytes }
`,
)

/**
 * KEYS: logs, stream, old. ARGV: log, from, bytes: batches whose next offset is `from` or more. The head of the
 * log, then ids and batches in turn, up to the one that would not fit: all of one moment. A batch is either in
 * the stream or among the old ones.
 */
export const readScript = script(
  'no-writes',
  `
local out, bytes, bytesMax = { redis.call('HGET', KEYS[1], ARGV[1]) }, 0, tonumber(ARGV[3])
local from = tonumber(ARGV[2])
while true do
  local entry = redis.call('XRANGE', KEYS[2], string.format('%.0f', from), '+', 'COUNT', 1)[1]
  local old = redis.call('ZRANGEBYLEX', KEYS[3], string.format('[%016.0f', from), '+', 'LIMIT', 0, 1)[1]
  if not entry and not old then return out end
  local id, batch, nextOffset
  if entry then
    id, batch = entry[1], entry[2][2]
    nextOffset = tonumber(string.match(id, '^%d+'))
  end
  if old and (not entry or tonumber(string.sub(old, 1, 16)) < nextOffset) then
    nextOffset = tonumber(string.sub(old, 1, 16))
    id = string.format('%.0f-%.0f', nextOffset, tonumber(string.sub(old, 17, 32)))
    batch = string.sub(old, 49)
  end
  if #out > 1 and bytes + #batch - 4 > bytesMax then return out end
  out[#out + 1] = id
  out[#out + 1] = batch
  bytes = bytes + #batch - 4 -- without its checksum
  from = nextOffset + 1
  if bytes >= bytesMax then return out end
end
`,
)

/** KEYS: old. ARGV: from, to, limit, direction. The heads of old batches, without what is in them. */
export const oldScript = script(
  'no-writes',
  `
local command = ARGV[4] == 'r' and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX'
local out = redis.call(command, KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
for at, member in ipairs(out) do out[at] = string.sub(member, 1, 48) end
return out
`,
)
