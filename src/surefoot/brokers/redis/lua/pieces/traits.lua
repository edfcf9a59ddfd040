-- traits: what a job is besides plain, as it stands in the store; a plain one has none. What somebody else spoiled
-- counts as none: no job may stop the others.
-- KEYS.traits  hash  id -> JSON: priority, unique, unique_until, needs
local PLAIN = {}

local function are_traits(read)
  return type(read) == 'table'
    and (read.priority == nil or type(read.priority) == 'number')
    and (read.needs == nil or type(read.needs) == 'number')
    and (read.unique == nil or type(read.unique) == 'string')
end

local function traits_in(json)
  if not json then
    return PLAIN
  end
  local read, traits = pcall(cjson.decode, json)
  return read and are_traits(traits) and traits or PLAIN
end

local function traits_of(id)
  return traits_in(redis.call('HGET', KEYS.traits, id))
end

local function priority_of(traits)
  local priority = traits.priority or 5
  return priority >= 0 and priority <= 9 and string.format('%.0f', priority) or '5'
end

local function newer(traits)
  return (traits.needs or 1) > $UNDERSTANDS and 'needs:' .. string.format('%.0f', traits.needs)
end
