internal import Glibc

/// Places of the file system where something is to be written, or listened at: what can be told of them by looking.
public enum FilePlace {
    /// What a place is for.
    public enum Use: Sendable {
        /// A file that is appended to, and created where there is none.
        case appending
        /// A Unix socket that is listened on; one that is left over is replaced.
        case listening
    }

    /// What is in the way; nil where nothing seems to be. Opens nothing and changes nothing.
    public static func obstacle(to use: Use, at path: String) -> String? {
        var status = stat()
        // SAFETY: a local out-parameter, and a path that is lent for the call.
        guard unsafe lstat(path, &status) == 0 else {
            return errno == ENOENT ? folderObstacle(path) : reason(path)
        }
        switch use {
        case .listening: return status.st_mode & S_IFMT == S_IFSOCK ? nil : "something else is there"
        case .appending: return appendingObstacle(path)
        }
    }

    private static func appendingObstacle(_ path: String) -> String? {
        var status = stat()
        // SAFETY: as above.
        guard unsafe stat(path, &status) == 0 else {
            // A link to nothing: the file would be created where it leads.
            return errno == ENOENT ? nil : reason(path)
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return "it is a folder"
        case S_IFSOCK: return "it is a socket"
        // A pipe is opened for both directions.
        case S_IFIFO: return isAllowed(path, R_OK | W_OK) ? nil : reason(path)
        default: return isAllowed(path, W_OK) ? nil : reason(path)
        }
    }

    /// What keeps a file from being made in its folder.
    private static func folderObstacle(_ path: String) -> String? {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        var status = stat()
        // SAFETY: as above.
        guard unsafe stat(folder, &status) == 0 else {
            return errno == ENOENT ? "there is no folder \"\(folder)\"" : reason(folder)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "\"\(folder)\" is no folder" }
        return isAllowed(folder, W_OK | X_OK) ? nil : reason(folder)
    }

    /// As this user, effectively.
    private static func isAllowed(_ path: String, _ mode: Int32) -> Bool {
        // SAFETY: the path is lent for the call.
        unsafe faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0
    }

    private static func reason(_ path: String) -> String { "\"\(path)\": \(Errno(errno))" }
}
