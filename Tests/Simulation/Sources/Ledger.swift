import CSimulation

/// A request that a client means to send, and everything that may come of it.
struct Plan {
    enum Credential {
        /// A token of its user.
        case good
        /// A token that nobody signed, and no token.
        case forged, missing
        /// No token, at a route that wants none.
        case notNeeded
    }

    let id: String
    let user: String
    let method: String
    let credential: Credential
    let place: Place
    /// Which of the keys has signed the token, where there are several.
    let key: Int
    let body: [UInt8]
    let isChunked: Bool
    let expectsContinue: Bool
    let hasTrailers: Bool
    /// A WebSocket; the body is what the client says in it.
    let isTunnel: Bool

    /// A proxy in front asks whether it may pass.
    var isQuestion = false

    /// The question whether it may pass, without its body.
    var asQuestion: Plan {
        Plan(
            id: id, user: user, method: method, credential: credential, place: place, key: key, body: [],
            isChunked: false, expectsContinue: false, hasTrailers: false, isTunnel: false, isQuestion: true)
    }

    /// Where the request goes, which decides what counts as a token.
    enum Place: String {
        /// Signed with a secret that never changes; with a key that is fetched; nothing that anybody but its issuer can read.
        case api, keyed, asked
        case open = "public"
    }

    /// What it stands on besides.
    var grounds: [Ground] {
        guard credential == .good else { return [] }
        return switch place {
        case .api: [.standing(user), .list]
        case .keyed: [.standing(user), .list, .key(key)]
        case .asked: [.standing(user), .list, .word(user)]
        case .open: []
        }
    }

    var isForwarded: Bool { credential == .good || credential == .notNeeded }
    /// What the backend must be told.
    var identity: String? { credential == .good ? user : nil }
    /// Its answer has no content. Questions are asked with GET.
    var isHead: Bool { method == "HEAD" && !isQuestion }
    var isIdempotent: Bool { method != "POST" }
}

/// What was found to be wrong.
struct Violation: Error, CustomStringConvertible {
    let description: String
}

/// Everything that must hold of a run, as it is noticed.
final class Ledger {
    private(set) var plans: [String: Plan] = [:]
    /// How often the head of a request has reached a backend.
    private(set) var forwarded: [String: Int] = [:]
    /// How often a server has said that it did nothing about it, and it may be sent again whatever it is.
    private var refused: [String: Int] = [:]
    /// The lengths of the answers that backends have given.
    private(set) var answers: [String: [Int]] = [:]
    private(set) var answered: [String: Int] = [:]
    /// Tunnels in which both sides have said all.
    private(set) var tunnelCount = 0
    private(set) var violations: [String] = []
    let retries: Int

    /// Counts what everybody does, to tell what came before what.
    var step = 0
    /// Since when the worker has surely known that something is no more, and the last time that it had to learn that.
    private var lost: [Ground: Int] = [:]
    private var losses: [Ground: Int] = [:]
    /// When a request's head was said, that of its answer read, and the last of the answer said.
    private var said: [String: Int] = [:]
    private var headSeen: [String: Int] = [:]
    private var lastWord: [String: Int] = [:]

    /// The addresses that proxies in front have told, by request.
    var sources: [String: String] = [:]
    private let maximumBody: Int
    /// Heads may be too large, for whatever they say.
    private let refusesHeads: Bool

    /// How many requests of each user have reached a backend that a store counts, and how many it has let pass.
    private var passed: [String: Int] = [:]
    var granted: [String: Int]?

    init(retries: Int, maximumBody: Int?, refusesHeads: Bool) {
        self.retries = retries
        self.maximumBody = maximumBody ?? .max
        self.refusesHeads = refusesHeads
    }

    func lose(_ ground: Ground) { (lost[ground], losses[ground]) = (step, step) }
    /// The worker may believe in it from now on.
    func gain(_ ground: Ground) { lost[ground] = nil }

    /// Requests that came before other settings of the upstream still go where they could go then.
    var hasOldPool = false

    /// A connection has been begun.
    func noteConnection(to port: UInt16) {
        if let since = lost[.server(port)], since < step, !hasOldPool {
            violate("a connection to \(port), which is gone")
        }
    }

    func noteSaid(id: String) { said[id] = step }
    func noteHeadSeen(id: String) { if headSeen[id] == nil { headSeen[id] = step } }
    func noteLastWord(id: String) { lastWord[id] = step }

    func violate(_ what: String) {
        violations.append(what)
        sim_say(what)
    }

    func expect(_ plan: Plan) { plans[plan.id] = plan }

    /// A backend has read the head of a request.
    func noteForwarded(id: String, method: String, user: String?, from address: String?, _ port: UInt16) {
        guard let plan = plans[id] else { return violate("a request that nobody sent: \(id)") }
        if address != sources[id] ?? Greeting.own {
            violate("\(id) of \(sources[id] ?? Greeting.own) came from \(address ?? "nowhere")")
        }
        if !plan.isForwarded { violate("\(id) was forwarded without a token") }
        if plan.isQuestion { violate("\(id) was forwarded, and is a question") }
        if plan.identity != user {
            violate("\(id) of \(plan.identity ?? "nobody") came as \(user ?? "nobody")")
        }
        if plan.method != method { violate("\(id) came with \(method)") }
        notePassed(plan, plan.grounds + [.server(port)], isFirst: forwarded[id] == nil)
        forwarded[id, default: 0] += 1
        let count = forwarded[id] ?? 0
        if count - refused[id, default: 0] > 1, !plan.isIdempotent {
            violate("\(id), a \(plan.method), was forwarded \(count) times")
        }
        if count > 1 + retries { violate("\(id) was forwarded \(count) times, with \(retries) retries") }
    }

    /// A request has reached a backend, or a question was answered with yes.
    private func notePassed(_ plan: Plan, _ grounds: [Ground], isFirst: Bool) {
        if !lost.isEmpty, let said = said[plan.id] {
            for ground in grounds {
                if let since = lost[ground], since < said { violate("\(plan.id) passed without \(ground)") }
            }
        }
        guard let granted, plan.place == .api, isFirst else { return }
        passed[plan.user, default: 0] += 1
        if passed[plan.user, default: 0] > granted[plan.user, default: 0] {
            violate("\(plan.id) passed, and the store has let \(granted[plan.user, default: 0]) pass")
        }
    }

    /// A backend has refused a request before it did anything about it (RFC 9113 §8.7).
    func noteRefused(id: String) { refused[id, default: 0] += 1 }

    /// A backend has read the whole of a request.
    func noteBody(id: String, _ body: [UInt8]) {
        guard let plan = plans[id] else { return }
        if !plan.isTunnel, body.count > maximumBody {
            violate("the body of \(id) came with \(body.count) bytes, and \(maximumBody) are allowed")
        }
        if plan.body != body {
            violate("the body of \(id) has \(body.count) bytes, not its \(plan.body.count)")
        }
    }

    /// Requests with fields behind their body, and answers: to whom more than one was given, any may be the one that came.
    var requestsWithTrailers: Set<String> = []
    var answersWithTrailers: Set<String> = []

    /// A backend of HTTP/2 has read all of a request.
    func noteEnd(id: String, hasTrailers: Bool) {
        if requestsWithTrailers.contains(id) != hasTrailers {
            violate("\(id) came with\(hasTrailers ? "" : "out") the fields behind its body")
        }
    }

    /// A backend has read something behind the body.
    func noteTrailers(id: String, _ text: String) {
        if text.contains("mallory") { violate("\(id) came with an identity behind its body") }
    }

    func noteAnswer(id: String, byteCount: Int) { answers[id, default: []].append(byteCount) }

    /// A client has read an answer to the request whose turn it is.
    func noteAnswered(_ plan: Plan, _ answer: Answer) {
        answered[plan.id] = answer.status
        if plan.isQuestion, answer.status == 200 { return noteConfirmed(plan, answer) }
        guard let echo = answer.echo else {
            let own = [400, 401, 403, 404, 408, 413, 414, 429, 431, 500, 502, 503, 504]
            let refusal = plan.isTunnel ? 501 : 500
            if !own.contains(answer.status), answer.status != refusal {
                violate("\(plan.id) got \(answer.status) from nobody")
            }
            let refusals = [401, 408, 503] + (refusesHeads ? [414, 431] : [])
            if !plan.isForwarded, !refusals.contains(answer.status) {
                violate("\(plan.id) without a token got \(answer.status)")
            }
            return
        }
        if echo != plan.id { return violate("\(plan.id) got the answer to \(echo)") }
        if answer.user != plan.identity {
            violate("\(plan.id) got the answer for \(answer.user ?? "nobody")")
        }
        if !plan.isForwarded { violate("\(plan.id) without a token got an answer of the backend") }
        if answer.isWhole, !losses.isEmpty, let seen = headSeen[plan.id], let word = lastWord[plan.id] {
            for ground in plan.grounds where ground != .list {
                if let at = losses[ground], seen < at, at < word {
                    violate("\(plan.id) got all of an answer that was said without \(ground)")
                }
            }
        }
        if plan.isHead || [204, 304].contains(answer.status) {
            if !answer.body.isEmpty { violate("\(plan.id) got a body") }
            return
        }
        if plan.isTunnel, answer.isWhole, answer.status < 300 { tunnelCount += 1 }
        let lengths = answers[plan.id] ?? []
        if answer.isWhole, !lengths.contains(answer.body.count) {
            violate("\(plan.id) got \(answer.body.count) bytes, and not one of \(lengths)")
        }
        if let hasTrailers = answer.hasTrailers, answer.isWhole, !plan.isTunnel, lengths.count == 1,
            hasTrailers != answersWithTrailers.contains(plan.id)
        {
            violate("\(plan.id) got an answer with\(hasTrailers ? "" : "out") fields behind its body")
        }
        if answer.body != Self.content(of: plan.id, byteCount: answer.body.count) {
            violate("\(plan.id) got another content")
        }
    }

    /// A proxy in front was told that a request may pass, and whose it is.
    private func noteConfirmed(_ plan: Plan, _ answer: Answer) {
        if !plan.isForwarded { violate("\(plan.id) may pass without a token") }
        if answer.user != plan.identity {
            violate("\(plan.id) of \(plan.identity ?? "nobody") is said to be of \(answer.user ?? "nobody")")
        }
        notePassed(plan, plan.grounds, isFirst: true)
    }

    /// What the body of an answer says, over and over.
    static func content(of id: String, byteCount: Int) -> [UInt8] {
        let line = Array("answer to \(id)\n".utf8)
        var content: [UInt8] = []
        content.reserveCapacity(byteCount + line.count)
        while content.count < byteCount { content += line }
        content.removeLast(content.count - byteCount)
        return content
    }
}

/// An answer as a client reads it.
struct Answer {
    var status = 0
    var echo: String?
    var user: String?
    var body: [UInt8] = []
    /// It has fields behind its body, where the client looks for them.
    var hasTrailers: Bool?
    var closes = false
    /// False for what was said in a tunnel until the proxy closed it.
    var isWhole = true

    /// Takes over what a tunnel's client has heard, once that has ended.
    mutating func take(_ tunnel: Tunnel) {
        body = tunnel.heard
        isWhole = tunnel.code == 1000
    }
}
