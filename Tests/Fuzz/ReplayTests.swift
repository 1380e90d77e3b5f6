import Foundation
import Testing

/// Everything that fuzzing started from or found, run as an ordinary test; without a fuzzer, and without sanitizers.
@Suite("Seeds and findings of fuzzing")
struct ReplayTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

    private static func inputs(_ target: String, of kinds: [String] = ["seeds", "findings"]) throws -> [URL] {
        try kinds.flatMap { kind -> [URL] in
            let folder = folder.appendingPathComponent(kind).appendingPathComponent(target)
            guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
            return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        }.sorted { $0.path < $1.path }
    }

    @Test("what must hold, holds", arguments: FuzzTargets.all.keys.filter { $0 != "canary" }.sorted())
    func replay(name: String) throws {
        let target = try #require(try FuzzTargets.all[name]?.init())
        let inputs = try Self.inputs(name)
        #expect(inputs.count >= 3, "a target without seeds")
        try target.run([])
        for input in inputs {
            let bytes = Array(try Data(contentsOf: input))
            #expect(throws: Never.self, "\(input.lastPathComponent)") { try target.run(bytes) }
            // A few thousand mutations of each, the same in every run: little, but everywhere.
            var random = Mutations(seed: UInt64(bytes.count))
            for _ in 0..<50 {
                let mutated = random.mutate(bytes)
                #expect(throws: Never.self, "\(mutated) of \(input.lastPathComponent)") {
                    try target.run(mutated)
                }
            }
        }
    }

    @Test(
        "what must hold, holds of what the fuzzer kept",
        arguments: FuzzTargets.all.keys.filter { $0 != "canary" }.sorted())
    func replayCorpus(name: String) throws {
        let target = try #require(try FuzzTargets.all[name]?.init())
        for input in try Self.inputs(name, of: ["corpus"]) {
            let bytes = Array(try Data(contentsOf: input))
            #expect(throws: Never.self, "\(input.lastPathComponent)") { try target.run(bytes) }
        }
    }

    @Test("the canary is a violation, and nothing beside it is one")
    func canary() throws {
        #expect(throws: Violation.self) { try CanaryTarget().run(Array("Ush!".utf8)) }
        #expect(throws: Never.self) { try CanaryTarget().run(Array("Ush?".utf8)) }
    }
}

/// Changes of one or a few bytes, from a seed.
private struct Mutations {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    private mutating func next(_ bound: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(bound))
    }

    mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        var mutated = bytes
        for _ in 0...next(3) where !mutated.isEmpty {
            let place = next(mutated.count)
            switch next(5) {
            case 0: mutated[place] ^= 1 << UInt8(next(8))
            case 1: mutated[place] = UInt8(next(256))
            case 2: mutated.remove(at: place)
            case 3: mutated.insert(UInt8(next(256)), at: place)
            default:
                mutated.insert(
                    contentsOf: mutated[place..<min(place + next(16), mutated.count)], at: next(mutated.count)
                )
            }
        }
        return mutated
    }
}
