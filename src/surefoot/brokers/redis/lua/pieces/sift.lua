-- sift: hands jobs out, but for those that cannot run here: without a body a job is dead, a newer one is parked.
-- KEYS.jobs    hash  id -> `<enqueued>\n<envelope>`
-- KEYS.traits  hash  id -> JSON
-- uses: time chunks traits park keys bury lease
-- `jobs`: id, rank, id, rank, ... The caller takes the ids that come back out of their place.
local function sift(jobs)
  local wanted, found = looked_up(jobs)
  local traits = gather(wanted, function(...) return redis.call('HMGET', KEYS.traits, ...) end)
  local able, whole = {}, {}
  for i, id in ipairs(wanted) do
    local rank, about = jobs[2 * i], traits_in(traits[i])
    local reason = newer(about)
    if not found[i] then
      redis.call('HSET', KEYS.jobs, id, stamp .. '\n')
      bury(id, 'body_lost', '', about)
      orphans[#orphans + 1] = id
    elseif reason then
      park(id, reason, rank, priority_of(about))
    else
      if about.unique_until == 'start' then
        release(id, about)
      end
      able[#able + 1], able[#able + 2], whole[#whole + 1] = id, rank, found[i]
    end
  end
  hand_out(able, whole)
  return wanted
end
