-- wrk: POSTs the lines of a file in turn, counts answers by status, and prints what it measured as a line of JSON.
-- Arguments after `--`: the file, and, for a load that does not wait for answers, the requests a second.
local threads = {}

function setup(thread)
  thread:set("first", #threads * 977)
  table.insert(threads, thread)
end

function init(arguments)
  bodies, rate = {}, tonumber(arguments[2] or "0")
  for line in io.lines(arguments[1]) do
    table.insert(bodies, wrk.format("POST", "/recommend", { ["content-type"] = "application/json" }, line))
  end
  sent, ok, shed, other, retry_after = first, 0, 0, 0, 0
  math.randomseed(first + 1)
end

function request()
  sent = sent + 1
  return bodies[sent % #bodies + 1]
end

function response(status, headers)
  if status == 200 then
    ok = ok + 1
  elseif status == 429 then
    shed = shed + 1
    if headers["retry-after"] or headers["Retry-After"] then retry_after = retry_after + 1 end
  else
    other = other + 1
  end
end

function done(summary, latency)
  local ok, shed, other, retry_after = 0, 0, 0, 0
  for _, thread in ipairs(threads) do
    ok, shed = ok + thread:get("ok"), shed + thread:get("shed")
    other, retry_after = other + thread:get("other"), retry_after + thread:get("retry_after")
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '{"seconds": %f, "ok": %d, "shed": %d, "retry_after": %d, "errors": %d, ' ..
      '"p50_ms": %f, "p99_ms": %f, "p999_ms": %f}\n',
    summary.duration / 1e6, ok, shed, retry_after, other + broken,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3
  ))
end
