-- ended: tells whoever waits for results that these jobs are over, kept or not. A hint: nobody may hear it.
-- KEYS.meta  hash  words of the queue
local function ended(ids)
  if #ids > 0 then
    redis.call('PUBLISH', string.sub(KEYS.meta, 1, -5) .. 'done', table.concat(ids, '\n'))
  end
end
