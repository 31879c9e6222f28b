-- The same load, but every connection pauses between its requests, so that the rate hardly depends on the answers.
local here = debug.getinfo(1, "S").source:match("@(.*/)") or "./"
dofile(here .. "load.lua")

function delay()
  return math.random() * 2 * pause
end
