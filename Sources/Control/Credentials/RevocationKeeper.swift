import Config
import Glibc
import JOSE
import Logging
import Policy
import Proxy
import Reactor

/// The revoked tokens: those of the watched file, those that came over the admin listener since the start, and those that
/// other proxies have put into the shared store.
struct RevocationKeeper {
    /// How often the file is looked at. A change counts within a quarter of a second, for one system call each time.
    static let pollMilliseconds: Int64 = 250

    /// All that is revoked; nothing where nothing can be.
    private(set) var list = RevocationList()
    /// True where tokens can be revoked at all.
    private(set) var isEnabled = false
    private var file: String?
    private var stamp: FileStamp?
    private var fromFile = RevocationList()
    /// What came over this process's admin listener.
    private(set) var fromAdmin = RevocationList()
    /// What the store has that several proxies share.
    private var fromStore = RevocationList()
    private var nextPoll = Instant.never
    /// The file has changed, and could not be read since.
    private var isUnreadable = false

    /// When `poll` is to be called next.
    var deadline: Instant { nextPoll }

    /// Takes over the settings of a configuration; what came over the admin listener, and what the shared store has said, stays.
    /// So it does while nothing can be revoked: the next configuration may ask for it again, and a store says only what is new.
    mutating func configure(_ whole: Configuration, now: Instant) {
        let configuration = whole.revocation
        // What other proxies revoke is revoked here, whether or not this one says more of it.
        isEnabled = configuration != nil || whole.shared != nil
        file = configuration?.file
        // The file may have changed since the configuration was loaded: the first poll reads it again.
        stamp = nil
        fromFile = configuration?.list ?? RevocationList()
        nextPoll = file == nil ? .never : now
        isUnreadable = false
        combine()
    }

    /// Takes in a text like the file's; false where it is not one.
    mutating func add(_ text: [UInt8]) -> Bool {
        guard let added = RevocationList(text) else { return false }
        fromAdmin.formUnion(added)
        combine()
        return true
    }

    /// Reads the file where it has changed; true where the list has. A file that cannot be read leaves the old list, and is
    /// tried again at the next look: the process may have had no descriptor for it.
    mutating func poll(
        _ now: Instant, _ log: Logger,
        read contents: (String) throws(Errno) -> [UInt8] = RevocationKeeper.contents
    ) -> Bool {
        guard let file, nextPoll <= now else { return false }
        nextPoll = now.advanced(byMilliseconds: Self.pollMilliseconds)
        let current = FileContents.stamp(file)
        guard current != stamp else {
            isUnreadable = false
            return false
        }
        let text: [UInt8]
        do throws(Errno) { text = try contents(file) } catch {
            // One that is too large will be so at the next look, too.
            if error == Errno(EFBIG) { stamp = current }
            if !isUnreadable { complain(file, "\(error)", log) }
            isUnreadable = true
            return false
        }
        (stamp, isUnreadable) = (current, false)
        guard let read = RevocationList(text) else {
            complain(file, "it is no such list", log)
            return false
        }
        guard read != fromFile else { return false }
        fromFile = read
        combine()
        log.info(
            "revocations loaded", metadata: ["file": "\(file)", "entries": .stringConvertible(read.count)])
        return true
    }

    private static func contents(_ file: String) throws(Errno) -> [UInt8] {
        try FileContents.read(file, limitBytes: RevocationList.largestByteCount, waits: false)
    }

    private func complain(_ file: String, _ reason: String, _ log: Logger) {
        log.error(
            "revocations not changed: the list cannot be read",
            metadata: ["file": "\(file)", "reason": "\(reason)"])
    }

    /// Takes over what the shared store says.
    mutating func setShared(_ list: RevocationList) {
        fromStore = list
        combine()
    }

    private mutating func combine() {
        list = RevocationList()
        guard isEnabled else { return }
        list = fromFile
        list.formUnion(fromAdmin)
        list.formUnion(fromStore)
    }
}

extension Supervisor {
    /// Looks after the watched list, and tells the workers where it has changed.
    func runRevocations() {
        if revocations.poll(Instant.now(), log) { publishRevocations() }
    }

    /// Revokes what a text on the admin listener names; nil where nothing can be revoked, false where the text is not
    /// understood.
    func revoke(_ text: [UInt8]) -> Bool? {
        guard revocations.isEnabled else { return nil }
        guard revocations.add(text) else { return false }
        if let added = RevocationList(text) { shared.revoke(added.entries) }
        log.notice(
            "tokens revoked", metadata: ["entries_in_all": .stringConvertible(revocations.list.count)])
        publishRevocations()
        return true
    }

    func publishRevocations() {
        settings.policy.revocations = revocations.list
        crew.send(revocations.list)
    }
}
