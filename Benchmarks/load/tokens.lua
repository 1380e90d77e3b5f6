-- wrk: one token after the other from the file $TOKENS; $METHOD and $BODY_BYTES make it a POST; $DELAY_MS is the mean
-- pause of each connection between two requests.
local requests, place = {}, 0
local size = tonumber(os.getenv("BODY_BYTES") or "0")
local pause = tonumber(os.getenv("DELAY_MS") or "0")

init = function()
  local body = size > 0 and string.rep("x", size) or nil
  for token in io.lines(os.getenv("TOKENS")) do
    requests[#requests + 1] = wrk.format(os.getenv("METHOD") or "GET", "/api/tasks/1", {
      ["Host"] = "tasks.example",
      ["Authorization"] = "Bearer " .. token,
      ["X-User-Id"] = "evil",
      ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
      ["Accept"] = "application/json",
      ["Accept-Encoding"] = "gzip, deflate, br",
    }, body)
  end
end

request = function()
  place = place % #requests + 1
  return requests[place]
end

if pause > 0 then
  delay = function() return math.random(0, 2 * pause) end
end
