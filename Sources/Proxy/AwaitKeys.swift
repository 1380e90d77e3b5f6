internal import Bytes
internal import HTTP
public import JOSE
internal import HTTP1
internal import Policy
public import Reactor

// A request whose token is signed with a key that is not known waits for the control thread to ask the issuer. Its
// head stays in the client's buffer, unread for all that follows, and is decided on again when the answer is there.

/// What a worker tells the control thread: a token came whose key is not among its issuer's.
public struct KeyRequest: Sendable {
    /// The name of the issuer's table.
    public let issuer: String

    /// A request for the keys of that issuer.
    public init(issuer: String) {
        self.issuer = issuer
    }
}

/// What the control thread tells every worker about an issuer's keys.
public struct KeyNotice: Sendable {
    /// What became of the keys.
    public enum Change: Sendable {
        /// They are as they were.
        case none
        /// These take the place of all that were there (rules J7, J22).
        case replaced(IssuerSpec.KeySource)
        /// They are too old to be believed.
        case removed
    }

    /// The name of the issuer's table.
    public let issuer: String
    /// What became of the keys.
    public let change: Change
    /// Until then the issuer is not asked again for the sake of an unknown key (rule J9).
    public let quietUntil: Instant

    /// A notice about that issuer.
    public init(issuer: String, change: Change, quietUntil: Instant) {
        self.issuer = issuer
        self.change = change
        self.quietUntil = quietUntil
    }
}

/// The requests of one worker that wait for keys.
struct KeyWaits {
    /// The most requests that wait in one worker: each holds 16 KiB of memory or more.
    private static let capacity = 256

    /// What is known of one issuer.
    struct IssuerState {
        let name: String
        /// The control thread was asked, and has not answered.
        var isAsked = false
        /// Asking again before then is in vain.
        var quietUntil = Instant(microseconds: .min)
    }

    /// In the order of the policy's issuers.
    private(set) var issuers: [IssuerState] = []
    private var waiting: [(client: Handle, issuer: Int)] = []

    /// Forgets everything about earlier settings; gives the clients that waited.
    mutating func reset(issuers names: [String]) -> [Handle] {
        let before = issuers
        issuers = names.map { name in
            var state = IssuerState(name: name)
            if let known = before.first(where: { $0.name == name }) { state.quietUntil = known.quietUntil }
            return state
        }
        defer { waiting.removeAll() }
        return waiting.map(\.client)
    }

    /// Takes a client in; false where there is no point in waiting, or no room.
    mutating func add(_ client: Handle, issuer: Int, now: Instant) -> Bool {
        guard issuers[issuer].isAsked || issuers[issuer].quietUntil <= now, waiting.count < Self.capacity
        else { return false }
        waiting.append((client, issuer))
        return true
    }

    /// True for the first to ask since the last answer.
    mutating func shouldAsk(_ issuer: Int) -> Bool {
        defer { issuers[issuer].isAsked = true }
        return !issuers[issuer].isAsked
    }

    /// Takes in an answer; gives the clients that waited for it.
    mutating func note(_ issuer: Int, quietUntil: Instant) -> [Handle] {
        issuers[issuer].isAsked = false
        issuers[issuer].quietUntil = quietUntil
        let due = waiting.filter { $0.issuer == issuer }.map(\.client)
        waiting.removeAll { $0.issuer == issuer }
        return due
    }

    /// Takes a client out that waits no longer.
    mutating func remove(_ client: Handle) {
        waiting.removeAll { $0.client == client }
    }
}

extension Worker {
    /// How long a request waits for keys, in milliseconds: longer than a good key server takes, shorter than a
    /// client's patience.
    private static var keyWaitMilliseconds: Int64 { 2000 }

    /// Lets the client whose head was just read wait for keys, or answers it.
    mutating func awaitKeys(_ client: UInt32, _ wait: KeyWait) {
        let handle = clients.handle(at: client)
        guard !isAnsweringWaits, keyWaits.add(handle, issuer: wait.issuer, now: now) else {
            return refuse(client, wait.rejection)
        }
        clients[client].phase = .awaitingKeys
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.keyWaitMilliseconds))
        if keyWaits.shouldAsk(wait.issuer) {
            keyRequests.send(KeyRequest(issuer: keyWaits.issuers[wait.issuer].name))
        }
    }

    /// The poller reports something of a client that waits: only its end matters. What it sends stays unread.
    mutating func advanceWait(_ client: UInt32) {
        guard clients[client].transport.isBroken else { return }
        keyWaits.remove(clients.handle(at: client))
        closeClient(client)
    }

    /// Nothing came in time: the client is answered as things are.
    mutating func endWait(_ client: UInt32) {
        keyWaits.remove(clients.handle(at: client))
        decideAgain(client, finally: true)
    }

    /// Takes in what the control thread says of an issuer's keys.
    mutating func note(_ notice: KeyNotice) {
        // An issuer of settings that are no more.
        guard let issuer = keyWaits.issuers.firstIndex(where: { $0.name == notice.issuer }) else { return }
        switch notice.change {
        case .none: break
        // The control thread has built a verifier of the same keys: a failure is a lack of memory, and the old
        // keys stay.
        case .replaced(let source): try? policy.replaceKeys(ofIssuer: issuer, with: source)
        case .removed: policy.removeKeys(ofIssuer: issuer)
        }
        for client in keyWaits.note(issuer, quietUntil: notice.quietUntil) where clients.contains(client) {
            decideAgain(client.index, finally: true)
        }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartWaits(_ issuers: [String]) {
        for client in keyWaits.reset(issuers: issuers) where clients.contains(client) {
            decideAgain(client.index, finally: false)
        }
    }

    /// Reads the head again, which is still there, and decides; `finally`: nobody waits a second time.
    private mutating func decideAgain(_ client: UInt32, finally: Bool) {
        clients[client].phase = .reading
        clientDeadlines.set(client, .never)
        isAnsweringWaits = finally
        let handle = clients.handle(at: client)
        _ = readRequest(client)
        isAnsweringWaits = false
        // More requests may be here already.
        if clients.contains(handle), clients[client].phase == .reading { ready.append(handle) }
    }
}
