/// The scripts that proxies run at the shared store. Each runs whole, by the store's own clock, so that proxies whose
/// clocks differ agree.
public enum StoreScript: Int, CaseIterable, Sendable {
    /// Takes requests out of a bucket.
    case takeRate
    /// Adds entries to the list of revoked tokens.
    case addRevocations
    /// Reads what is new in that list.
    case readRevocations

    /// The text of each, in their order.
    public static var texts: [String] { allCases.map(\.text) }

    var text: String {
        switch self {
        case .takeRate: Self.takeRateText
        case .addRevocations: Self.addRevocationsText
        case .readRevocations: Self.readRevocationsText
        }
    }

    /// KEYS: the bucket. ARGV: microseconds for one request, microseconds in which the bucket fills, how many are wanted
    /// now, and how many ahead. Gives how many it gave, and in how many microseconds the bucket is full.
    ///
    /// A bucket is the one moment when it will be full (generic cell rate algorithm), and lives until then. Ahead it gives
    /// at most one in 64 of what is left: what a proxy has in hand and does not use is lost to the others.
    private static let takeRateText = """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local interval, fill = tonumber(ARGV[1]), tonumber(ARGV[2])
        local wanted, ahead = tonumber(ARGV[3]), tonumber(ARGV[4])
        local full = tonumber(redis.call('GET', KEYS[1]) or now)
        if not full or full ~= full then full = now end
        full = math.min(math.max(full, now), now + fill)
        local room = math.floor((now + fill - full) / interval)
        local given = math.min(room, wanted)
        given = given + math.max(math.min(ahead, math.floor((room - given) / 64)), 0)
        if given > 0 then
          full = full + given * interval
          redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
        end
        return {given, full - now}
        """

    /// KEYS: the list. ARGV: for how many microseconds entries are kept, then entries. Each gets the moment as its score,
    /// and no two the same, so that readers know where they are.
    private static let addRevocationsText = """
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[1])))
        local top = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
        local score = math.max(now, (tonumber(top[2]) or 0) + 1)
        for place = 2, #ARGV do
          if not redis.call('ZSCORE', KEYS[1], ARGV[place]) then
            redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[place])
            score = score + 1
          end
        end
        return 1
        """

    /// KEYS: the list, and its name. ARGV: the score read last, the name if the list has none, how many are wanted.
    /// Gives the name, the lowest and the highest score, the score read now, and entries.
    ///
    /// Another name, or a highest score below one that was read, tells that the store has lost something.
    private static let readRevocationsText = """
        local name = redis.call('GET', KEYS[2])
        if not name then
          name = ARGV[2]
          redis.call('SET', KEYS[2], name)
        end
        local low = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
        local top = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
        local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
        local entries, read, size = {}, ARGV[1], 0
        for place = 1, #found, 2 do
          local length = string.len(found[place])
          if size > 0 and size + length > 500000 then break end
          read = found[place + 1]
          if length <= 65536 then
            size = size + length
            entries[#entries + 1] = found[place]
            entries[#entries + 1] = read
          end
        end
        return {name, low[2] or '0', top[2] or '0', read, entries}
        """
}
