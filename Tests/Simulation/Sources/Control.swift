import Bytes
import CSimulation
import JOSE
import Policy
import Upstream

@testable import Proxy
@testable import Reactor

/// What a request stands on besides a good signature. It may be lost in the middle of a run.
enum Ground: Hashable {
    /// Nobody has revoked the user's tokens.
    case standing(String)
    /// The issuer has the key.
    case key(Int)
    /// The list of revoked tokens was read in the last second.
    case list
    /// The upstream has a server there, which is well.
    case server(UInt16)
    /// The issuer that is asked has said yes of the user, not long ago.
    case word(String)
}

/// The control thread, made up: it has keys fetched, asks an issuer about tokens, and is told of those that are revoked. What it
/// gets may come late, more than once, or never.
///
/// What a worker has taken in shows in the answer to a heartbeat that was sent behind it.
final class Control {
    private enum Letter {
        case keys(Set<Int>?)
        case verdict(RemoteQuestion, RemoteAnswer.Result)
        case revocations(Set<String>)
        case rates(RateAnswer, Inbox<WorkerMessage>)
        /// The store has told which tokens are revoked, or is not heard of any more.
        case store(isAnswering: Bool)
        case servers([ServerSettings])
        case health(ServerSettings, isUp: Bool)
        case upstreams(connections: Int, pending: Int)
    }

    /// When what the issuer that is asked has said counts no more: the worker's time of day is a second old at most.
    private var wordMicroseconds: Int64 { (world.scenario.wordSeconds + 3) * 1_000_000 }

    private unowned let world: World
    private var mail: [(at: Int64, letter: Letter)] = []
    /// What is no more once all workers have answered.
    private var pending: [(beats: [(member: Crew.Member, heartbeat: Heartbeat)], lost: [Ground])] = []
    /// What is no more from then on, because nobody has said it again.
    private var fading: [(at: Int64, ground: Ground)] = []
    /// As the worker was told.
    private var keys: Set<Int> = []
    private var revoked: Set<String> = []
    private var upstream: UpstreamSettings
    /// What the store has left for each user.
    private var left: [String: Int] = [:]
    private static let listMicroseconds: Int64 = 1_000_001
    private var readsUntil: Int64 = 0

    init(_ world: World) {
        self.world = world
        upstream = world.scenario.upstream
        if world.scenario.movesServers { moveServers() }
        guard world.scenario.course != .plain else { return }
        for key in [1, 2] { world.ledger.lose(.key(key)) }
        for user in FixedParts.users { world.ledger.lose(.word(user)) }
        let isClean = world.scenario.isClean
        for _ in 0..<sim_below(4) {
            let keys = [[1, 2], [1], [2], []][Int(sim_below(isClean ? 1 : 4))]
            mail.append((sim_now() + Int64(sim_below(150_000)), .keys(Set(keys))))
        }
        if world.scenario.course == .sharing { open() }
        guard world.scenario.course == .revoking else { return }
        for _ in 0...sim_below(3) {
            let users = FixedParts.users.filter { _ in sim_below(3) == 0 }
            mail.append((sim_now() + Int64(sim_below(100_000)), .revocations(Set(users))))
        }
    }

    private func open() {
        world.ledger.lose(.list)
        if world.scenario.refusesWithoutStore { world.ledger.granted = [:] }
        let isClean = world.scenario.isClean
        for user in FixedParts.users {
            left[user] = isClean ? 1000 : Int(sim_below(UInt32(Scenario.burst + 1)))
        }
        readsUntil = sim_now() + (isClean ? 1_000_000_000 : Int64(sim_below(8_000_000)))
        read(sim_now())
        if isClean { return }
        for _ in 0..<sim_below(3) {
            let at = sim_now() + Int64(sim_below(100_000))
            mail.append((at, .store(isAnswering: false)))
            mail.append((at + Int64(sim_below(3_000_000)), .store(isAnswering: true)))
        }
    }

    /// The store answers, and has said which tokens are revoked.
    private func read(_ now: Int64) {
        world.standing.isAnswering = true
        guard now <= readsUntil else { return }
        world.standing.revocationsReadMicroseconds = now
        if world.scenario.refusesWithoutStore {
            gain(.list)
            fading.append((now + Self.listMicroseconds, .list))
        } else {
            world.ledger.gain(.list)
        }
        mail.append(
            (now + Int64(sim_below(world.scenario.isClean ? 500_000 : 1_100_000)), .store(isAnswering: true)))
    }

    private func moveServers() {
        let servers = upstream.servers
        for _ in 0...sim_below(4) {
            let at = sim_now() + Int64(sim_below(100_000))
            switch sim_below(4) {
            case 0:
                mail.append(
                    (at, .upstreams(connections: 1 + Int(sim_below(64)), pending: Int(sim_below(64)))))
            case 1:
                let server = servers[Int(sim_below(UInt32(servers.count)))]
                mail.append((at, .health(server, isUp: false)))
                mail.append((at + Int64(sim_below(50_000)), .health(server, isUp: true)))
            default: mail.append((at, .servers(servers.filter { _ in sim_below(3) > 0 })))
            }
        }
    }

    var next: Int64 { min(mail.map(\.at).min() ?? never, fading.map(\.at).min() ?? never) }

    /// The policy as it stands, for settings that come in the middle.
    func apply(to settings: inout ProxySettings) {
        settings.upstreams = [upstream]
        guard world.scenario.course != .plain else { return }
        settings.policy.revocations = Self.list(revoked)
        settings.policy.issuers[1].spec.keys = keys.isEmpty ? .pending : FixedParts.keySource(keys)
    }

    func act(_ now: Int64, _ crew: Crew) {
        guard world.scenario.course != .plain || world.scenario.movesServers else { return }
        let known = pending.map { $0.beats.allSatisfy { $0.heartbeat.count > 0 || $0.member.hasEnded } }
        for ground in zip(pending, known).filter(\.1).flatMap(\.0.lost) {
            if case .word = ground {
                fading.append((now + wordMicroseconds, ground))
            } else {
                world.ledger.lose(ground)
            }
        }
        pending = zip(pending, known).filter { !$1 }.map(\.0)
        for entry in fading where entry.at <= now { world.ledger.lose(entry.ground) }
        fading.removeAll { $0.at <= now }
        if world.scenario.course != .plain { listen(now) }
        while let index = mail.indices.filter({ mail[$0].at <= now }).min(by: { mail[$0].at < mail[$1].at }) {
            deliver(mail.remove(at: index).letter, now, crew)
        }
    }

    /// Questions that nobody has heard are not the next run's; answers that nobody hears hold the way to a worker.
    func end() {
        (mail, pending) = ([], [])
        guard world.scenario.course != .plain else { return }
        _ = world.scenario.fixed.keyRequests.receive()
        _ = world.scenario.fixed.questions.receive()
        _ = world.scenario.fixed.rateRequests.receive()
    }

    /// What the worker asks, and when it is answered.
    private func listen(_ now: Int64) {
        let isClean = world.scenario.isClean
        func delay() -> Int64 { Int64(sim_below(isClean || sim_below(4) > 0 ? 20_000 : 8_000_000)) }
        for _ in world.scenario.fixed.keyRequests.receive() where isClean || sim_below(8) > 0 {
            let answers: [Set<Int>?] = [[1, 2], [1, 2], [1], [2], [], nil]
            mail.append((now + delay(), .keys(answers[Int(sim_below(isClean ? 1 : 6))])))
        }
        for request in world.scenario.course == .sharing ? world.scenario.fixed.rateRequests.receive() : [] {
            mail.append(
                (
                    now + delay(),
                    .rates(RateAnswer(request.question, verdict(request.question)), request.answerTo)
                ))
        }
        for question in world.scenario.fixed.questions.receive() where isClean || sim_below(8) > 0 {
            for _ in 0...(isClean ? 0 : sim_below(8) / 7) {
                mail.append((now + delay(), .verdict(question, verdict(question))))
            }
        }
    }

    /// The store gives what it has left, and says when it will have everything again.
    private func verdict(_ question: RateQuestion) -> RateAnswer.Verdict {
        let name = String(decoding: question.name, as: UTF8.self)
        guard let user = FixedParts.buckets.first(where: { name == "s:rate:r:" + $0.value })?.key else {
            world.ledger.violate("the store was asked about \(name)")
            return .unavailable
        }
        if !world.scenario.isClean, sim_below(8) == 0 { return .unavailable }
        let count = min(question.wanted + question.ahead, left[user, default: 0])
        left[user, default: 0] -= count
        world.ledger.granted?[user, default: 0] += count
        let missing = Int64(max(0, Scenario.burst - left[user, default: 0]))
        return .given(count, fullInMicroseconds: missing * question.interval)
    }

    private func verdict(_ question: RemoteQuestion) -> RemoteAnswer.Result {
        let name = String(decoding: question.text, as: UTF8.self).dropFirst(FixedParts.opaque.count)
        guard FixedParts.users.contains(String(name)) else { return .refused }
        switch world.scenario.isClean ? 8 : sim_below(12) {
        case 0: return .refused
        case 1: return .unavailable
        case 2: return .accepted(Array(#"{"active":false}"#.utf8))
        case 3: return .accepted(Array(#"{"active":"true","sub":"mallory"}"#.utf8))
        default: return .accepted(Array(#"{"active":true,"sub":"\#(name)"}"#.utf8))
        }
    }

    private func deliver(_ letter: Letter, _ now: Int64, _ crew: Crew) {
        switch letter {
        case .keys(let set):
            let change: KeyNotice.Change =
                switch set {
                case nil: .none
                case .some([]): .removed
                case .some(let keys): .replaced(FixedParts.keySource(keys))
                }
            let quiet = Instant(microseconds: now + Int64(sim_below(world.scenario.isClean ? 1 : 100_000)))
            crew.send(.keys(KeyNotice(issuer: "k", change: change, quietUntil: quiet)))
            guard let set else { return }
            (keys, world.isDisturbed) = (set, world.isDisturbed || set.count < 2)
            set.forEach { gain(.key($0)) }
            expect(Set([1, 2]).subtracting(set).map { .key($0) }, crew)
        case .verdict(let question, let result):
            crew.send(.verdict(RemoteAnswer(key: question.key, result: result)))
            guard case .accepted(let claims) = result, claims.starts(with: Array(#"{"active":true,"#.utf8)),
                let user = FixedParts.users.first(where: {
                    question.text == Array((FixedParts.opaque + $0).utf8)
                })
            else { return }
            gain(.word(user))
            expect([.word(user)], crew)
        case .rates(let answer, let inbox): inbox.send(.rates([answer]))
        case .store(let isAnswering):
            if isAnswering { read(now) } else { world.standing.isAnswering = false }
        case .servers(let servers): deliver(servers: servers, crew)
        case .health(let server, let isUp): deliver(server, isUp: isUp)
        case .upstreams(let connections, let pending):
            (world.isDisturbed, world.ledger.hasOldPool) = (true, true)
            (upstream.maximumConnections, upstream.maximumPending) = (connections, pending)
            crew.send(.upstreams([upstream]))
        case .revocations(let users):
            let freed = revoked.subtracting(users)
            revoked = users
            world.isDisturbed = world.isDisturbed || !users.isEmpty
            crew.send(.revocations(Self.list(users)))
            freed.forEach { gain(.standing($0)) }
            expect(users.map { .standing($0) }, crew)
        }
    }

    private func deliver(servers: [ServerSettings], _ crew: Crew) {
        let gone = upstream.servers.filter { !servers.contains($0) }.map { Self.ground($0) }
        upstream.servers = servers
        if servers.isEmpty { world.isDisturbed = true }
        crew.send(.servers("u", servers))
        for server in servers where server.state.isUp { gain(Self.ground(server)) }
        expect(gone, crew)
    }

    /// Everybody sees at once how a server is.
    private func deliver(_ server: ServerSettings, isUp: Bool) {
        world.isDisturbed = true
        server.state.setUp(isUp, at: Instant.now())
        if !isUp {
            world.ledger.lose(Self.ground(server))
        } else if upstream.servers.contains(server) {
            gain(Self.ground(server))
        } else if pending.contains(where: { $0.lost.contains(Self.ground(server)) }) {
            // That it has gone the worker may still be about to read.
            world.ledger.gain(Self.ground(server))
        }
    }

    private static func ground(_ server: ServerSettings) -> Ground {
        guard case .ipv4(_, let port) = server.address else { return .server(0) }
        return .server(port)
    }

    /// The worker may believe it from now on.
    private func gain(_ ground: Ground) {
        world.ledger.gain(ground)
        for index in pending.indices { pending[index].lost.removeAll { $0 == ground } }
        fading.removeAll { $0.ground == ground }
    }

    /// Once the worker has answered, it does not believe these any more.
    private func expect(_ lost: [Ground], _ crew: Crew) {
        guard !lost.isEmpty else { return }
        pending.append((crew.beat(), lost))
    }

    private static func list(_ users: Set<String>) -> RevocationList {
        let entries = users.sorted().map { #""\#($0)":4000000000"# }.joined(separator: ",")
        return RevocationList(Array(#"{"sub":{\#(entries)}}"#.utf8)) ?? RevocationList()
    }
}
