-- chunks: long lists in calls of at most 1,000 values, since unpack takes only some thousands.
local function each(values, call)
  for first = 1, #values, 1000 do
    call(unpack(values, first, math.min(first + 999, #values)))
  end
end

local function gather(ids, call)
  if #ids <= 1000 then
    return #ids > 0 and call(unpack(ids)) or {}
  end
  local found = {}
  for first = 1, #ids, 1000 do
    for _, value in ipairs(call(unpack(ids, first, math.min(first + 999, #ids)))) do
      found[#found + 1] = value
    end
  end
  return found
end
