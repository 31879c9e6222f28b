-- The same load at a rate that does not depend on the answers: requests are due at even intervals, and whichever
-- connection is free sends the next one; if none was free in time, it is sent as soon as one is.
local here = debug.getinfo(1, "S").source:match("@(.*/)") or "./"
dofile(here .. "load.lua")

local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } rqrec_time; int clock_gettime(int clock, rqrec_time *time);")
local MONOTONIC, clock = 1, ffi.new("rqrec_time")

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, clock)
  return tonumber(clock.s) * 1e3 + tonumber(clock.ns) / 1e6
end

function delay()
  due = (due or now_ms()) + 1e3 / rate
  return math.max(due - now_ms(), 0)
end
