import Config
import Logging
import Reactor

/// Looks whether files have changed: the configuration and what it names.
///
/// It asks for their state a few times a second, which finds every way to replace a file alike: written in place,
/// another renamed over it, a directory's link turned to a new one (as Kubernetes does with a ConfigMap).
struct FileWatcher {
    /// How often the files are looked at.
    static let pollMilliseconds: Int64 = 250

    /// When `poll` is to be called next.
    private(set) var deadline = Instant.never
    private var paths: [String] = []
    /// The state that is in force.
    private var accepted: [String: FileStamp] = [:]
    /// A new state, as long as it may still be changing.
    private var pending: [String: FileStamp]?

    /// Watches what was read, from now on. `stamps` are from before that, of these files and maybe others: what changes while
    /// files are read, or until this call, counts as a change.
    mutating func watch(_ files: [String], as stamps: [String: FileStamp], isOn: Bool, now: Instant) {
        paths = isOn ? files : []
        let watched = Set(paths)
        accepted = stamps.filter { watched.contains($0.key) }
        pending = nil
        deadline = isOn ? now.advanced(byMilliseconds: Self.pollMilliseconds) : .never
    }

    /// True where something has changed, and then stayed as it is from one look to the next: whoever writes several
    /// files, or one in pieces, is given time to finish.
    mutating func poll(_ now: Instant) -> Bool {
        guard deadline <= now else { return false }
        deadline = now.advanced(byMilliseconds: Self.pollMilliseconds)
        let current = stamps()
        guard current != accepted else {
            pending = nil
            return false
        }
        guard pending == current else {
            pending = current
            return false
        }
        return true
    }

    private func stamps() -> [String: FileStamp] {
        var found: [String: FileStamp] = [:]
        for path in paths { found[path] = FileContents.stamp(path) }
        return found
    }
}

extension Supervisor {
    /// When `runWatcher` is to be called next: during the start and the drain it does nothing, and must not be waited for.
    var watcherDeadline: Instant { phase == .running ? watcher.deadline : .never }

    /// Reloads where a watched file has changed.
    func runWatcher(at now: Instant) {
        guard phase == .running, watcher.poll(now) else { return }
        log.info("a file of the configuration has changed")
        reload()
    }
}
