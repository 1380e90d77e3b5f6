import CSimulation

let never = Int64.max

/// Somebody at the other end of connections, who acts at times of their own choosing.
class Peer {
    unowned let world: World
    /// When they act next, `never` while they wait for something.
    var next = never
    /// The connection, or -1.
    var stream: Int32 = -1
    /// Of a server: where it listens.
    var port: UInt16 = 0
    var inbox: [UInt8] = []
    private var hasSeenEnd = false
    /// What is left to be said before all else.
    private var greeting: ArraySlice<UInt8> = []
    /// It has nothing to do any more.
    var isDone = false

    init(_ world: World) { self.world = world }

    /// One thing.
    func act(_ now: Int64) {}

    /// Something can be read, or the end of it.
    var hasNews: Bool {
        stream >= 0 && (sim_peer_available(stream) > 0 || (!hasSeenEnd && sim_peer_sees_end(stream)))
    }

    /// What a client of TLS says that it speaks.
    var speaksHTTP2: Bool { false }

    /// Reads some of what is there; true at the end of the stream. What TLS adds is read, and not there.
    func readSome(atMost most: Int = 1 << 20) -> Bool {
        let count = min(most, Int(sim_peer_available(stream)))
        if count > 0 {
            let old = inbox.count
            inbox.append(contentsOf: repeatElement(0, count: count))
            let stream = stream
            var read = 0
            inbox.withUnsafeMutableBufferPointer {
                if let start = $0.baseAddress { read = Int(sim_peer_read(stream, start + old, count)) }
            }
            inbox.removeLast(count - read)
        }
        hasSeenEnd = sim_peer_sees_end(stream)
        return hasSeenEnd
    }

    func write(_ bytes: ArraySlice<UInt8>) {
        if !greeting.isEmpty {
            let rest = greeting
            greeting = []
            write(rest)
        }
        bytes.withUnsafeBufferPointer {
            if let start = $0.baseAddress { sim_peer_write(stream, start, $0.count) }
        }
    }

    /// Gives the connection up: with a reset, or as is due.
    func leave(resetting: Bool = false) {
        guard stream >= 0 else { return }
        if resetting { sim_peer_reset(stream) }
        sim_peer_release(stream)
        (stream, inbox, hasSeenEnd, next) = (-1, [], false, never)
    }

    /// Opens the next of a client's connections and gives what it is for; nil where there is none left, or nobody listens
    /// any more.
    func open(nextOf connections: inout [[Plan]]) -> [Plan]? {
        guard !connections.isEmpty else {
            isDone = true
            return nil
        }
        var plans = connections.removeFirst()
        let chance = sim_below(16)
        let listener = chance < 2 ? 1 : chance < 3 && !speaksHTTP2 ? World.questionListener : 0
        if listener == World.questionListener { plans = plans.map(\.asQuestion) }
        stream = sim_connect(World.ports[listener])
        if stream >= 0 {
            begin(plans, listener)
            return plans
        }
        (connections, isDone) = ([], true)
        return nil
    }

    /// Says what comes before the first request.
    private func begin(_ plans: [Plan], _ listener: Int) {
        let isSecured = world.scenario.securedListeners.contains(listener)
        greeting = []
        if world.scenario.greetedListeners.contains(listener) {
            let first = Greeting(mayBeWrong: !world.scenario.isClean)
            world.isDisturbed = world.isDisturbed || first.isWrong
            for plan in plans { world.ledger.sources[plan.id] = first.source }
            // Over TLS it is cut on its way; here a part of it may come later, with the first request.
            let count = isSecured ? first.bytes.count : Int(sim_below(UInt32(first.bytes.count + 1)))
            greeting = first.bytes[count...]
            first.bytes.withUnsafeBufferPointer {
                if let start = $0.baseAddress { sim_peer_greet(stream, start, count, isSecured) }
            }
        }
        if isSecured { sim_peer_secure(stream, true, speaksHTTP2) }
    }

    /// Mostly soon, sometimes at once, seldom so late that somebody loses patience.
    func pause(_ now: Int64) -> Int64 {
        switch sim_below(64) {
        case 0..<16: now
        case 16..<63: now + Int64(sim_below(3000))
        default: now + Int64(sim_below(world.scenario.isClean ? 500_000 : 20_000_000))
        }
    }
}
