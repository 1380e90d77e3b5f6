internal import Bytes
internal import HTTP
internal import HTTP1
public import JOSE
internal import Policy
public import Reactor

// A request whose token is signed with a key that is not known waits for the control thread to ask the issuer. Its
// head stays in the client's buffer, unread for all that follows, and is decided on again when the answer is there.

/// What a worker tells the control thread: a token came whose key is not among its issuer's.
public struct KeyRequest: Sendable {
    /// The name of the issuer's table.
    public let issuer: String
    /// How many notices about this issuer the worker has seen since its settings came. One that is on its way answers
    /// the request.
    public let noticesSeen: UInt64

    /// A request for the keys of that issuer.
    public init(issuer: String, noticesSeen: UInt64) {
        self.issuer = issuer
        self.noticesSeen = noticesSeen
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
    /// What is known of one issuer.
    struct IssuerState {
        let name: String
        /// The control thread was asked, and has not answered.
        var isAsked = false
        /// Asking again before then is in vain.
        var quietUntil = Instant(microseconds: .min)
        var noticesSeen: UInt64 = 0
    }

    /// In the order of the policy's issuers.
    private(set) var issuers: [IssuerState] = []
    /// By the issuer that is asked. Each of them holds 16 KiB of memory or more.
    private var clients = WaitingClients<Int>(capacity: 256)

    /// Forgets everything about earlier settings; gives those who waited.
    mutating func reset(issuers names: [String]) -> [WaitingClient] {
        let before = issuers
        issuers = names.map { name in
            var state = IssuerState(name: name)
            if let known = before.first(where: { $0.name == name }) { state.quietUntil = known.quietUntil }
            return state
        }
        return clients.takeAll()
    }

    /// Takes a client in; false where there is no point in waiting, or no room.
    mutating func add(_ entry: WaitingClient, for issuer: Int, now: Instant) -> Bool {
        guard issuers[issuer].isAsked || issuers[issuer].quietUntil <= now else { return false }
        return clients.add(entry, for: issuer) != nil
    }

    /// True for the first to ask since the last answer.
    mutating func shouldAsk(_ issuer: Int) -> Bool {
        defer { issuers[issuer].isAsked = true }
        return !issuers[issuer].isAsked
    }

    /// Takes in an answer; gives those who waited for it.
    mutating func note(_ issuer: Int, quietUntil: Instant) -> [WaitingClient] {
        issuers[issuer].isAsked = false
        issuers[issuer].quietUntil = quietUntil
        issuers[issuer].noticesSeen += 1
        return clients.take(issuer)
    }

    /// Takes a client out that waits no longer.
    mutating func remove(_ client: Handle) -> WaitingClient? { clients.remove(client) }
}

extension Worker {
    /// How long a request waits for keys, in milliseconds: longer than a good key server takes, shorter than a
    /// client's patience.
    private static var keyWaitMilliseconds: Int64 { 2000 }

    /// Lets the client whose head was just read wait for keys, or answers it.
    mutating func awaitKeys(_ client: UInt32, _ wait: KeyWait, isQuestion: Bool = false) {
        guard keyWaits.add(waiting(client, isQuestion: isQuestion), for: wait.issuer, now: now) else {
            decisionRound = .last
            decideAtOnce(client, isQuestion: isQuestion)
            decisionRound = .first
            return
        }
        clients[client].phase = .awaitingKeys
        clientDeadlines.set(client, now.advanced(byMilliseconds: Self.keyWaitMilliseconds))
        if keyWaits.shouldAsk(wait.issuer) { requestKeys(ofIssuer: wait.issuer) }
    }

    /// Has an issuer's keys fetched, where that is not in vain, for whoever comes later.
    mutating func wantKeys(ofIssuer issuer: Int) {
        guard keyWaits.issuers[issuer].quietUntil <= now, keyWaits.shouldAsk(issuer) else { return }
        requestKeys(ofIssuer: issuer)
    }

    private func requestKeys(ofIssuer issuer: Int) {
        let state = keyWaits.issuers[issuer]
        keyRequests.send(KeyRequest(issuer: state.name, noticesSeen: state.noticesSeen))
    }

    /// Nothing came in time: the client is answered as things are.
    mutating func endWait(_ client: UInt32) {
        guard let entry = keyWaits.remove(clients.handle(at: client)) else { return closeClient(client) }
        decideAgain(entry, .last)
    }

    /// Takes in what the control thread says of an issuer's keys.
    mutating func note(_ notice: KeyNotice) {
        // An issuer of settings that are no more.
        guard let issuer = keyWaits.issuers.firstIndex(where: { $0.name == notice.issuer }) else { return }
        switch notice.change {
        case .none: break
        case .replaced(let source):
            // The control thread has built a verifier of the same keys: a failure is a lack of memory. The old keys may
            // be gone for a reason, so that none are better, which are asked for with the next token.
            do throws(IssuerError) { try policy.replaceKeys(ofIssuer: issuer, with: source) } catch {
                policy.removeKeys(ofIssuer: issuer)
            }
            endStreams(ofIssuer: issuer)
        case .removed:
            policy.removeKeys(ofIssuer: issuer)
            endStreams(ofIssuer: issuer)
        }
        // Besides its token a request may have a credential that nobody was asked about yet.
        for entry in keyWaits.note(issuer, quietUntil: notice.quietUntil) {
            decideAgain(entry, .withKeys)
        }
    }

    /// The settings have changed: everybody who waits is decided on by the new ones.
    mutating func restartWaits(_ issuers: [String]) {
        for entry in keyWaits.reset(issuers: issuers) { decideAgain(entry, .again) }
    }
}
