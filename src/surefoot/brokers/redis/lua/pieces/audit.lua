-- audit: the last 1,000 changes by hand, newest first.
-- KEYS.audit  list  `<when> <what> <how many> <who>`, newline, the reason, then up to ten names, each on a line
-- ARGV.who    text  `user@host` of whoever asked, may be empty
-- uses: time
local function line_of(words)
  return (string.gsub(string.sub(words, 1, 500), '%c', ' '))
end

-- `names`: ids of the jobs, or what else was changed. Nothing changed is nothing to tell.
local function audit(what, names, reason)
  if #names > 0 then
    local lines = {stamp .. ' ' .. what .. ' ' .. #names .. ' ' .. line_of(ARGV.who), line_of(reason or '')}
    for i = 1, math.min(#names, 10) do
      lines[i + 2] = line_of(names[i])
    end
    redis.call('LPUSH', KEYS.audit, table.concat(lines, '\n'))
    redis.call('LTRIM', KEYS.audit, 0, 999)
  end
end
