import Config
import Logging
import Reactor

/// The addresses of the servers that the configuration names by a host name: looked up off the loop, again and again.
///
/// getaddrinfo tells no time to live, so the interval bounds how old an address may be; the system's resolver caches
/// as it likes. What is known stays known while a name cannot be looked up.
final class NameBook {
    /// A host name and a port.
    struct Name: Hashable {
        let host: String
        let port: UInt16
    }

    private struct Entry {
        var interval: Int64
        /// Sorted, so that a resolver that rotates them changes nothing.
        var addresses: [SocketAddress] = []
        /// They are of one of two families, of which none has taken a connection yet.
        var isGuess = false
        var wasAnswered = false
        /// Look-ups in a row that brought nothing certain.
        var failures = 0
        /// The log says that it cannot be looked up.
        var isWarned = false
        var next: Instant
        var lookup: (identifier: UInt32, thread: NameLookup)?
        /// Nobody asks for it any more; it goes when its look-up has ended.
        var isForgotten = false

        /// The family that is known to take connections.
        var knownFamily: AddressFamilies.Family? {
            isGuess ? nil : addresses.first.flatMap(AddressFamilies.family)
        }

        /// Takes over an interval; what is due later than it allows is brought forward.
        mutating func take(interval: Int64, now: Instant) {
            self.interval = interval
            next = min(next, now.advanced(byMilliseconds: interval))
        }

        /// When a look-up that brought nothing certain is repeated: soon, and then ever later.
        mutating func retry(now: Instant) {
            let doubled = NameBook.firstRetryMilliseconds << Int64(min(failures, 16))
            next = now.advanced(byMilliseconds: min(doubled, interval))
            failures += 1
        }
    }

    /// Where look-ups are answered; the loop watches it.
    let answers: Inbox<LookupAnswer>
    var log: Logger
    private var entries: [Name: Entry] = [:]
    private var lastIdentifier: UInt32 = 0
    /// Addresses have changed while a start or a reload waited: where that fails, nobody has been told.
    private var hasUntoldChange = false

    /// After a failure, doubled up to the interval.
    fileprivate static let firstRetryMilliseconds: Int64 = 500
    /// Threads that look up at once: one name must not wait for another, but a thousand names need not have a thread
    /// each.
    private static let largestLookupCount = 64
    /// Of one name.
    private static let largestAddressCount = 64

    init(log: Logger) throws(Errno) {
        answers = try Inbox()
        self.log = log
    }

    /// The addresses of a name as they are known now; none where it could never be looked up.
    func addresses(of name: Name) -> [SocketAddress] { entries[name]?.addresses ?? [] }

    /// Looks these names up from now on, too, each at that interval in milliseconds.
    func add(_ names: [Name: Int64], now: Instant) {
        for (name, interval) in names {
            if entries[name] == nil {
                entries[name] = Entry(interval: interval, next: now)
            } else {
                entries[name]?.take(interval: interval, now: now)
                entries[name]?.isForgotten = false
            }
        }
    }

    /// Forgets all other names.
    func retain(_ names: [Name: Int64]) {
        for (name, entry) in entries where names[name] == nil {
            if entry.lookup == nil {
                entries.removeValue(forKey: name)
            } else {
                entries[name]?.isForgotten = true
            }
        }
    }

    /// When `run` is to be called next.
    var deadline: Instant {
        guard lookupCount < Self.largestLookupCount else { return .never }
        return entries.values.reduce(.never) { $1.lookup == nil ? min($0, $1.next) : $0 }
    }

    private var lookupCount: Int { entries.values.count { $0.lookup != nil } }

    /// Starts the look-ups that are due.
    func run(now: Instant) {
        var room = Self.largestLookupCount - lookupCount
        for (name, entry) in entries where entry.lookup == nil && entry.next <= now && room > 0 {
            room -= 1
            begin(name, now)
        }
    }

    private func begin(_ name: Name, _ now: Instant) {
        lastIdentifier &+= 1
        do throws(Errno) {
            let thread = try NameLookup(
                name.host, port: name.port, identifier: lastIdentifier, oneFamily: true,
                known: entries[name]?.knownFamily, answerTo: answers)
            entries[name]?.lookup = (lastIdentifier, thread)
        } catch {
            // No thread to be had: as if the name had not been found.
            settle(name, LookupAnswer(identifier: lastIdentifier, addresses: []), now)
        }
    }

    /// Takes in the answers. True where an address has changed.
    func noteAnswers(now: Instant) -> Bool {
        var hasChanged = hasUntoldChange
        hasUntoldChange = false
        for answer in answers.receive() {
            let asked = entries.first { $0.value.lookup?.identifier == answer.identifier }
            guard let asked else { continue }
            asked.value.lookup?.thread.finish()
            entries[asked.key]?.lookup = nil
            if asked.value.isForgotten {
                entries.removeValue(forKey: asked.key)
                continue
            }
            if settle(asked.key, answer, now) { hasChanged = true }
        }
        return hasChanged
    }

    /// True where the addresses have changed.
    @discardableResult
    private func settle(_ name: Name, _ answer: LookupAnswer, _ now: Instant) -> Bool {
        guard var entry = entries[name] else { return false }
        defer { entries[name] = entry }
        entry.wasAnswered = true
        guard !answer.addresses.isEmpty else {
            if !entry.isWarned { warn(name, isKnown: !entry.addresses.isEmpty) }
            entry.isWarned = true
            entry.retry(now: now)
            return false
        }
        entry.isWarned = false
        entry.isGuess = answer.isGuess
        if answer.isGuess {
            entry.retry(now: now)
        } else {
            entry.failures = 0
            entry.next = now.advanced(byMilliseconds: entry.interval)
        }
        let sorted = Array(
            answer.addresses.sorted { $0.description < $1.description }.prefix(Self.largestAddressCount))
        guard sorted != entry.addresses else { return false }
        entry.addresses = sorted
        log.info(
            "addresses of a server",
            metadata: [
                "name": "\(name.host)",
                "addresses": "\(sorted.map(\.host).joined(separator: ", "))",
            ])
        return true
    }

    private func warn(_ name: Name, isKnown: Bool) {
        log.warning(
            isKnown
                ? "a server name cannot be looked up; its addresses are used on"
                : "a server name has no address; its upstream is not available until it has one",
            metadata: ["name": "\(name.host)"])
    }

    /// Between two looks whether the process has been told to end.
    private static let lookMilliseconds: Int64 = 100

    /// Waits until every name was asked once, or the time is over, or the process has been told to end. For the start, before
    /// there is a loop, and for a reload.
    func waitForAnswers(milliseconds: Int64) {
        let end = Instant.now().advanced(byMilliseconds: milliseconds)
        guard var poller = try? Poller() else { return }
        do throws(Errno) {
            try poller.add(answers.descriptor, token: 0, for: .readable)
        } catch {
            return
        }
        run(now: .now())
        while entries.values.contains(where: { !$0.wasAnswered && !$0.isForgotten }) {
            let left = end.microseconds(since: .now()) / 1000
            guard left > 0, !Signal.endIsPending else { return }
            _ = poller.wait(timeoutMilliseconds: Int32(min(left, Self.lookMilliseconds)))
            hasUntoldChange = noteAnswers(now: .now())
            run(now: .now())
        }
    }
}
