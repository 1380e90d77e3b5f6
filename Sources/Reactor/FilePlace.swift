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
        do throws(Errno) {
            let found = try kind(of: path)
            switch use {
            // What another process has left is removed first.
            case .listening: return found == S_IFSOCK ? folderObstacle(path) : "something else is there"
            case .appending: return appendingObstacle(path)
            }
        } catch {
            return error.code == ENOENT ? folderObstacle(path) : reason(path, error)
        }
    }

    /// What is there, as one of `S_IFSOCK`, `S_IFDIR` and so on (inode(7)); throws where nothing is, or nobody may look. A link is
    /// what it leads to where links are followed.
    static func kind(of path: String, followingLinks: Bool = false) throws(Errno) -> mode_t {
        var status = stat()
        // SAFETY: a local out-parameter, and a path that is lent for the call.
        let result = unsafe fstatat(AT_FDCWD, path, &status, followingLinks ? 0 : AT_SYMLINK_NOFOLLOW)
        guard result == 0 else { throw Errno(errno) }
        return status.st_mode & S_IFMT
    }

    private static func appendingObstacle(_ path: String) -> String? {
        let found: mode_t
        do throws(Errno) { found = try kind(of: path, followingLinks: true) } catch {
            // A link to nothing: the file would be created where it leads.
            return error.code == ENOENT ? nil : reason(path, error)
        }
        return switch found {
        case S_IFDIR: "it is a folder"
        case S_IFSOCK: "it is a socket"
        // A pipe is opened for both directions.
        case S_IFIFO: denial(path, R_OK | W_OK)
        default: denial(path, W_OK)
        }
    }

    /// What keeps a file from being made in its folder.
    private static func folderObstacle(_ path: String) -> String? {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        do throws(Errno) {
            guard try kind(of: folder, followingLinks: true) == S_IFDIR else {
                return "\"\(folder)\" is no folder"
            }
        } catch {
            return error.code == ENOENT ? "there is no folder \"\(folder)\"" : reason(folder, error)
        }
        return denial(folder, W_OK | X_OK)
    }

    /// Why this user, effectively, may not; nil where he may.
    private static func denial(_ path: String, _ mode: Int32) -> String? {
        // SAFETY: the path is lent for the call.
        unsafe faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? nil : reason(path, Errno(errno))
    }

    private static func reason(_ path: String, _ error: Errno) -> String { "\"\(path)\": \(error)" }
}
