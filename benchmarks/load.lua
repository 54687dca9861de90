-- wrk: posts the bodies of a file, one a line, from the first on; prints one line of JSON at the end.
-- Environment: BODIES (file), HEADERS (name: value, one a line).
local bodies, headers, next_body = {}, {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
for line in (os.getenv("HEADERS") or ""):gmatch("[^\n]+") do
  local name, value = line:match("^(.-): (.*)$")
  headers[name] = value
end

function request()
  next_body = next_body % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[next_body])
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.4f, "refused": %d, "failed": %d, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status, failed,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
