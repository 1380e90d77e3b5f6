import Glibc
import Policy
import Proxy
import Reactor
import Telemetry
import Testing

@testable import Control

@Suite("The crew")
struct CrewTests {
    private let settings = ProxySettings(listeners: [], upstreams: [], policy: PolicySpec())

    /// What a worker reports until its thread has ended.
    private func reports(of crew: Crew) -> [WorkerReport] {
        var all: [WorkerReport] = []
        for _ in 0..<6000 {
            all += crew.reports.receive()
            if all.count > 1 { break }
            usleep(10_000)
        }
        return all
    }

    @Test("a worker that cannot take settings over says so and ends: it does not go on by the old ones")
    func settingsThatDoNotCompile() throws {
        var crew = try Crew()
        let store = try SharedStore(environment: [:])
        try crew.start(
            1, settings, listeners: [[]], logWriter: try LogWriter(destination: .off), store: store.channels)
        var bad = settings
        bad.policy.tokensCached = 0
        crew.reconfigure(bad, listeners: [[]], of: 1)
        crew.stop()
        let reports = reports(of: crew)
        #expect(reports.count == 2)
        guard case .failed(0, let reason) = reports.last else {
            Issue.record("it has \(String(describing: reports.last))")
            return
        }
        #expect(reason == "the policy does not compile: a limit of the token cache is out of range")
    }

    @Test("a worker that can take them over runs until it is told to stop")
    func settingsThatCompile() throws {
        var crew = try Crew()
        let store = try SharedStore(environment: [:])
        try crew.start(
            1, settings, listeners: [[]], logWriter: try LogWriter(destination: .off), store: store.channels)
        crew.reconfigure(settings, listeners: [[]], of: 1)
        crew.stop()
        guard case .ended(0) = reports(of: crew).last else {
            Issue.record("it has not ended")
            return
        }
    }
}
