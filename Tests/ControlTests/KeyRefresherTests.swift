import Reactor
import Testing

@testable import Control

/// A clock that tests move.
private func at(_ seconds: Double) -> Instant { Instant(microseconds: Int64(seconds * 1_000_000)) }

@Suite struct KeyRefresherTests {
    /// Refresh 10 minutes, cooldown 10 seconds, stale for an hour.
    private func refresher() -> KeyRefresher {
        KeyRefresher(.init(refresh: 600_000, cooldown: 10_000, staleFor: 3_600_000), now: at(0))
    }

    private func loaded(maximumAge: Int64? = nil, random: UInt64 = 0) -> KeyRefresher {
        var refresher = refresher()
        #expect(refresher.tick(at(0)) == .fetch)
        refresher.succeeded(at(0), maximumAge: maximumAge, random: random)
        return refresher
    }

    @Test func theFirstFetchIsDueAtOnceAndOnlyOnce() {
        var refresher = refresher()
        #expect(refresher.tick(at(0)) == .fetch && refresher.isFetching && !refresher.hasKeys)
        #expect(refresher.tick(at(100)) == nil && refresher.deadline == .never)
    }

    @Test func keysAreRefreshedBeforeTheyGoStale() {
        var refresher = loaded()
        #expect(refresher.hasKeys && refresher.fetchedAt == at(0) && refresher.deadline == at(600))
        #expect(refresher.tick(at(599)) == nil && refresher.tick(at(600)) == .fetch)
    }

    @Test(arguments: [0, 1, 59_999, 60_000, 60_001, UInt64.max])
    func jitterComesEarlierByATenthAtMost(random: UInt64) {
        let deadline = loaded(random: random).deadline
        #expect(deadline >= at(540) && deadline <= at(600))
    }

    @Test(arguments: [(60, 60), (3600, 600), (0, 10), (3, 10), (Int64.max, 600)] as [(Int64, Double)])
    func maxAgeIsRespectedBetweenCooldownAndRefresh(seconds: Int64, expected: Double) {
        #expect(loaded(maximumAge: seconds).deadline == at(expected))
    }

    @Test("no answer makes the time between two fetches longer", arguments: [nil, 0, 1, 3600] as [Int64?])
    func refreshBelowTheCooldown(maximumAge: Int64?) {
        var refresher = KeyRefresher(.init(refresh: 500, cooldown: 10_000, staleFor: 0), now: at(0))
        #expect(refresher.tick(at(0)) == .fetch)
        refresher.succeeded(at(0), maximumAge: maximumAge, random: 0)
        #expect(refresher.deadline == at(0.5))
    }

    @Test(
        "J7: other times keep the keys, and hold for them: from then on, where they are shorter",
        arguments: [(60, 1800, 1960), (6000, 7200, 7800), (60, 0, 160)] as [(Double, Double, Double)])
    func otherTimes(refresh: Double, staleFor: Double, end: Double) {
        var refresher = loaded()
        refresher.retime(
            .init(
                refresh: Int64(refresh * 1000), cooldown: 10_000, staleFor: Int64(staleFor * 1000)),
            now: at(100))
        let next = min(600, 100 + 0.9 * refresh)
        #expect(refresher.hasKeys && refresher.deadline == at(next))
        #expect(refresher.tick(at(next - 1)) == nil && refresher.tick(at(next)) == .fetch)
        #expect(refresher.tick(at(end - 1)) == nil)
        #expect(refresher.tick(at(end)) == .drop)
    }

    @Test("J9: an unknown key starts one fetch in a cooldown")
    func cooldown() {
        var refresher = loaded()
        #expect(refresher.asked(at(1)) == .fetch)
        #expect(refresher.asked(at(1.1)) == .underWay)
        refresher.succeeded(at(1.2), maximumAge: nil, random: 0)
        #expect(refresher.asked(at(1.3)) == .notBefore(at(11)))
        #expect(refresher.asked(at(10.9)) == .notBefore(at(11)))
        #expect(refresher.asked(at(11)) == .fetch)
    }

    @Test("J9: 10,000 unknown keys in a second start one fetch")
    func flood() {
        var refresher = loaded()
        var fetches = 0
        for index in 0..<10_000 {
            let now = at(1 + Double(index) / 10_000)
            if refresher.asked(now) == .fetch { fetches += 1 }
            if index % 7 == 0, refresher.isFetching { refresher.succeeded(now, maximumAge: nil, random: 0) }
        }
        #expect(fetches == 1)
    }

    @Test func whoAsksDuringAScheduledFetchWaitsForIt() {
        var refresher = refresher()
        _ = refresher.tick(at(0))
        #expect(refresher.asked(at(1)) == .underWay)
        refresher.succeeded(at(2), maximumAge: nil, random: 0)
        #expect(refresher.asked(at(3)) == .fetch)
    }

    @Test func failuresAreRetriedLessAndLessOften() {
        var refresher = refresher()
        var waits: [Double] = []
        var now = 0.0
        for _ in 0..<8 {
            #expect(refresher.tick(at(now)) == .fetch)
            refresher.failed(at(now))
            let wait = Double(refresher.deadline.microseconds) / 1_000_000 - now
            #expect(refresher.asked(at(now + wait / 2)) == .notBefore(at(now + wait)))
            waits.append(wait)
            now += wait
        }
        #expect(waits == [0.5, 1, 2, 4, 8, 10, 10, 10] && !refresher.hasKeys)
    }

    @Test("J7: keys that cannot be refreshed are dropped after stale_for")
    func stale() {
        var refresher = loaded()
        #expect(refresher.tick(at(600)) == .fetch)
        var now = 600.0
        while true {
            refresher.failed(at(now))
            now = Double(refresher.deadline.microseconds) / 1_000_000
            let action = refresher.tick(at(now))
            if action == .drop { break }
            #expect(action == .fetch && refresher.hasKeys)
        }
        #expect(now == 4200 && !refresher.hasKeys)
        #expect(refresher.tick(at(now + 10)) == .fetch)
        refresher.succeeded(at(now + 11), maximumAge: nil, random: 0)
        #expect(refresher.hasKeys && refresher.failures == 0)
    }

    @Test func keysThatNeedNotBeThereAreFetchedForThoseWhoAsk() {
        var refresher = KeyRefresher(
            .init(refresh: 600_000, cooldown: 10_000, staleFor: 3_600_000), isOptional: true, now: at(0))
        #expect(refresher.tick(at(0)) == .fetch)
        refresher.failed(at(1))
        #expect(refresher.deadline == .never && refresher.tick(at(100_000)) == nil)
        #expect(refresher.asked(at(2)) == .notBefore(at(11)) && refresher.quietUntil == at(11))
        #expect(refresher.asked(at(11)) == .fetch)
        refresher.failed(at(12))
        #expect(refresher.deadline == .never && refresher.asked(at(13)) == .notBefore(at(22)))
        // Once there are some, they are kept fresh as others are, and dropped as others are.
        #expect(refresher.asked(at(30)) == .fetch)
        refresher.succeeded(at(30), maximumAge: nil, random: 0)
        #expect(refresher.deadline == at(630) && refresher.tick(at(630)) == .fetch)
        refresher.failed(at(631))
        #expect(refresher.hasKeys && refresher.deadline == at(631.5))
        #expect(refresher.tick(at(4230)) == .drop && refresher.tick(at(4230)) == .fetch)
        refresher.failed(at(4231))
        #expect(refresher.deadline == .never && refresher.asked(at(4241)) == .fetch)
    }

    @Test func aFetchThatNeverEndsDoesNotKeepOldKeysAlive() {
        var refresher = loaded()
        #expect(refresher.tick(at(600)) == .fetch)
        #expect(refresher.deadline == at(4200) && refresher.tick(at(4200)) == .drop)
    }
}
