-- traits: what a job is besides plain, as it stands in the store; a plain one has none.
-- KEYS.traits  hash  id -> JSON: priority, unique, unique_until, needs
local PLAIN = {}

local function traits_in(json)
  return json and cjson.decode(json) or PLAIN
end

local function traits_of(id)
  return traits_in(redis.call('HGET', KEYS.traits, id))
end

local function are_traits(read)
  return type(read) == 'table'
    and (read.priority == nil or type(read.priority) == 'number')
    and (read.needs == nil or type(read.needs) == 'number')
    and (read.unique == nil or type(read.unique) == 'string')
end

local function priority_of(traits)
  return string.format('%.0f', traits.priority or 5)
end

local function newer(traits)
  return (traits.needs or 1) > $UNDERSTANDS and 'needs:' .. string.format('%.0f', traits.needs)
end
