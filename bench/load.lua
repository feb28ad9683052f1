-- Run by wrk: sends the requests of a directory (first argument) in turn, and prints one line of JSON at the end.
-- The directory holds "head" (method, path, then one header a line, name and value between them a tab), "count", and the
-- bodies as 0, 1, 2, ...

local requests = {}
local sent = 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

function init(args)
  local directory = args[1]
  local lines = {}
  for line in read(directory .. "/head"):gmatch("[^\n]+") do lines[#lines + 1] = line end
  local headers = {}
  for i = 3, #lines do
    local name, value = lines[i]:match("^([^\t]+)\t(.*)$")
    headers[name] = value
  end
  for i = 0, tonumber(read(directory .. "/count")) - 1 do
    requests[i + 1] = wrk.format(lines[1], lines[2], headers, read(directory .. "/" .. i))
  end
  sent = tonumber(args[2]) or 0
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p90_us": %d, "p99_us": %d, '
      .. '"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(90), latency:percentile(99),
    e.status, e.connect, e.read, e.write, e.timeout))
end
