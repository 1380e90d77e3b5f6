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

/// The clients of one worker that wait, by what they wait for.
struct WaitingClients<Key: Hashable> {
    /// The most that wait at once.
    private let capacity: Int
    private var clients: [Key: [WaitingClient]] = [:]
    private var count = 0

    init(capacity: Int) { self.capacity = capacity }

    /// Takes a client in; true for the first that waits for this, nil where there is no room.
    mutating func add(_ entry: WaitingClient, for key: Key) -> Bool? {
        guard count < capacity else { return nil }
        count += 1
        let isFirst = clients[key] == nil
        clients[key, default: []].append(entry)
        return isFirst
    }

    /// Gives those who waited for this.
    mutating func take(_ key: Key) -> [WaitingClient] {
        guard let due = clients.removeValue(forKey: key) else { return [] }
        count -= due.count
        return due
    }

    /// Gives everybody who waits.
    mutating func takeAll() -> [WaitingClient] {
        defer {
            clients.removeAll()
            count = 0
        }
        return clients.values.flatMap { $0 }
    }

    /// Takes a client out that waits no longer.
    mutating func remove(_ client: Handle) -> WaitingClient? {
        for (key, waiting) in clients {
            guard let place = waiting.firstIndex(where: { $0.client == client }) else { continue }
            count -= 1
            if waiting.count == 1 {
                clients[key] = nil
                return waiting[0]
            }
            return clients[key]?.remove(at: place)
        }
        return nil
    }
}

extension Worker {
    /// That client, with what is known of the request that is being decided on.
    func waiting(_ client: UInt32, isQuestion: Bool) -> WaitingClient {
        WaitingClient(
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
        if entry.isQuestion { readQuestion(client) } else { _ = readRequest(client) }
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
