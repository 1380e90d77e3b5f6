internal import Bytes
internal import Policy
internal import Reactor

/// A client whose request waits for somebody else's word, and how far the decision on it had come.
struct WaitingClient {
    let client: Handle
    /// It asks about another request (forward-auth), which has taken its own head's place already.
    let isQuestion: Bool
    /// What round the decision was in.
    let round: DecisionRound
    /// How often a server was asked about the request.
    var verdictCount: Int
    /// The fields that its answer gets, from what it waited for before.
    var fields: [UInt8]
}

/// The clients of one worker that wait, by what they wait for. On average, one that leaves takes no longer than one that
/// comes, however many there are: those of a connection leave together, and so do those whose time is over.
struct WaitingClients<Key: Hashable> {
    /// Where a client stands. One that left and waits again has the same handle, but another ticket.
    private struct Place {
        let client: Handle
        let ticket: UInt64
    }

    /// Those who wait for one thing, in the order in which they came, and between them the places of some that have left:
    /// never more than of those who wait.
    private struct Line {
        var places: [Place] = []
        /// How many of them wait.
        var count = 0
    }

    /// Somebody who waits.
    private struct Entry {
        let client: WaitingClient
        let key: Key
        /// Of its place; a place with another ticket is one that it left.
        let ticket: UInt64
    }

    /// The most that wait at once.
    private let capacity: Int
    private var entries: [Handle: Entry] = [:]
    private var lines: [Key: Line] = [:]
    /// How many came until now, which is the next one's ticket.
    private var arrivals: UInt64 = 0

    init(capacity: Int) { self.capacity = capacity }

    /// The places in all lines, of those who wait and of those who left.
    var placeCount: Int { lines.values.reduce(0) { $0 + $1.places.count } }

    /// Takes a client in, which waits for nothing else here, at the end of the line; true for the first that waits for
    /// this, nil where there is no room.
    mutating func add(_ client: WaitingClient, for key: Key) -> Bool? {
        guard entries.count < capacity else { return nil }
        let isFirst = lines[key] == nil
        lines[key, default: Line()].places.append(Place(client: client.client, ticket: arrivals))
        lines[key]?.count += 1
        entries[client.client] = Entry(client: client, key: key, ticket: arrivals)
        arrivals += 1
        return isFirst
    }

    /// Gives those who waited for this, in the order in which they came.
    mutating func take(_ key: Key) -> [WaitingClient] {
        guard let line = lines.removeValue(forKey: key) else { return [] }
        return line.places.compactMap { place in
            entries[place.client]?.ticket == place.ticket
                ? entries.removeValue(forKey: place.client)?.client : nil
        }
    }

    /// Gives everybody who waits.
    mutating func takeAll() -> [WaitingClient] {
        lines.keys.map { $0 }.flatMap { take($0) }
    }

    /// Takes a client out that waits no longer.
    mutating func remove(_ client: Handle) -> WaitingClient? {
        guard let entry = entries.removeValue(forKey: client),
            var line = lines.removeValue(forKey: entry.key)
        else { return nil }
        line.count -= 1
        guard line.count > 0 else { return entry.client }
        // More have left than wait, and all their places go: on average a step or two for each.
        if line.places.count > 2 * line.count {
            let waiting = entries
            line.places.removeAll { waiting[$0.client]?.ticket != $0.ticket }
        }
        lines[entry.key] = line
        return entry.client
    }
}

extension Worker {
    /// That client, with what is known of the request that is being decided on. Its time runs from now on, not from the decision.
    mutating func waiting(_ client: UInt32, isQuestion: Bool) -> WaitingClient {
        clients[client].waitsSince = min(clients[client].waitsSince, now)
        return WaitingClient(
            client: clients.handle(at: client), isQuestion: isQuestion, round: decisionRound,
            verdictCount: verdictWaits.count, fields: verdictWaits.fields)
    }

    /// The poller reports something of a client that waits: only its end matters. What it sends stays unread.
    mutating func advanceWait(_ client: UInt32) {
        guard clients[client].transport.isBroken else { return }
        stopWaiting(client)
        closeClient(client)
    }

    /// Takes a client out of where it waits.
    mutating func stopWaiting(_ client: UInt32) {
        let handle = clients.handle(at: client)
        switch clients[client].phase {
        case .awaitingKeys: _ = keyWaits.remove(handle)
        case .awaitingVerdict: if verdictWaits.clients.remove(handle) == nil { _ = rateWaits.remove(handle) }
        default: break
        }
    }

    /// Reads the head again, which is still there, and decides.
    mutating func decideAgain(_ entry: WaitingClient, _ round: DecisionRound) {
        guard clients.contains(entry.client) else { return }
        let client = entry.client.index
        clients[client].phase = .reading
        clientDeadlines.set(client, .never)
        decisionRound = round
        verdictWaits.count = entry.verdictCount
        verdictWaits.fields = entry.fields
        if entry.isQuestion { readQuestion(client) } else { readRequestAgain(client) }
        decisionRound = .first
        verdictWaits.count = 0
        verdictWaits.fields = []
        // More requests may be here already.
        if clients.contains(entry.client), clients[client].phase == .reading { resumeNextTurn(entry.client) }
    }

    /// Decides without what it would have to wait for.
    mutating func decideAtOnce(_ client: UInt32, isQuestion: Bool) {
        if isQuestion { askAboutQuestion(client) } else { decide(client) }
    }
}
