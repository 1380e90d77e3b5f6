import CSimulation
import Glibc

/// The world of the current run, for the kernel that calls back.
nonisolated(unsafe) private var current: World?

/// `simulate COUNT [FIRST]`: runs so many seeds from the first on; a violation ends it, and its seed repeats it.
@main
enum Simulate {
    static func main() throws {
        let numbers = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
        let first = numbers.count > 1 ? numbers[1] : 1
        let count = numbers.first ?? 1000
        let fixed = try FixedParts()
        sim_name_seed_at_crash()
        sim_trace(count == 1)
        var (calls, digest, requests, answers, tunnels) = (UInt64(0), UInt64(0), 0, 0, 0)
        for seed in first..<first + count {
            let ledger = try run(seed, fixed)
            calls += sim_calls()
            digest = digest &* 31 &+ sim_digest()
            requests += ledger.plans.count
            answers += ledger.answered.count
            tunnels += ledger.tunnelCount
            guard ledger.violations.isEmpty else {
                print("seed \(seed): " + ledger.violations.prefix(8).joined(separator: "; "))
                exit(1)
            }
        }
        print(
            "\(count) seeds from \(first): \(requests) requests, \(answers) answers, \(tunnels) tunnels, \(calls) system calls, "
                + "TLS: \(sim_tls_count(SIM_TLS_HANDSHAKES)) handshakes, \(sim_tls_count(SIM_TLS_RESUMPTIONS)) of them resumed, "
                + "\(sim_tls_count(SIM_TLS_WRITES)) writes, \(sim_tls_count(SIM_TLS_UPDATES)) key updates, run \(String(digest, radix: 16))"
        )
    }

    private static func run(_ seed: UInt64, _ fixed: FixedParts) throws -> Ledger {
        // The generator is the kernel's, and everybody draws from it.
        sim_begin(seed, sim_faults()) { now in current?.step(now) ?? .max }
        let scenario = Scenario(fixed)
        sim_begin(seed, scenario.faults) { now in current?.step(now) ?? .max }
        let world = World(scenario)
        current = world
        defer { current = nil }
        try world.run()
        let open = sim_end()
        if open > 0 { world.ledger.violate("\(open) descriptors are left open") }
        return world.ledger
    }
}
