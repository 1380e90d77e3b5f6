// What one route has to do with another: for warnings about several of them.

extension PathPattern {
    /// The literal segments in front of everything else.
    var prefix: ArraySlice<Segment> {
        segments.prefix { if case .literal = $0 { true } else { false } }
    }

    /// The same with a slash behind it, or without the one that it has; nil where there is no such other spelling: behind
    /// `**`, and of `/` alone.
    var otherSpelling: PathPattern? {
        switch segments.last {
        case .rest, nil: nil
        case .literal("") where segments.count == 1: nil
        case .literal(""): PathPattern(segments: segments.dropLast(), text: String(text.dropLast()))
        case .literal, .capture: PathPattern(segments: segments + [.literal("")], text: text + "/")
        }
    }

    /// True where both match the same paths, whatever their captures are called.
    func isAlike(_ other: PathPattern) -> Bool {
        guard segments.count == other.segments.count else { return false }
        return zip(segments, other.segments).allSatisfy { mine, its in
            if case .capture = mine, case .capture = its { return true }
            return mine == its
        }
    }

    /// True where every path of the other pattern is one of this pattern.
    func covers(_ other: PathPattern) -> Bool {
        let isOpenEnded = segments.last == .rest
        let prefix = isOpenEnded ? segments.dropLast() : segments[...]
        guard isOpenEnded ? prefix.count <= other.segments.count : prefix.count == other.segments.count else {
            return false
        }
        return zip(prefix, other.segments).allSatisfy { mine, its in
            if case .capture = mine { return its != .rest && its != .literal("") }
            return mine == its
        }
    }
}

extension RouteConfiguration {
    /// 0 for everybody, 1 for nobody and somebody, 2 for somebody alone; a redirection leads to no backend.
    var strictness: Int {
        if redirectPort != nil { return 2 }
        return switch authentication {
        case .open: 0
        case .optional: 1
        case .required: 2
        }
    }

    /// The word for it in a warning about a route that asks for more.
    var laxness: String {
        switch strictness {
        case 0: "open"
        case 1: "optional"
        default: "less demanding"
        }
    }

    /// How many segments `strip_prefix` takes off.
    var strippedCount: Int { stripPrefix?.utf8.count { $0 == 0x2f } ?? 0 }

    /// The path as the backend sees it.
    var backendPath: PathPattern {
        PathPattern(segments: Array(path.segments.dropFirst(strippedCount)), text: path.text)
    }

    /// True where this one lets in somebody whom the other one does not, and hardly anybody the other way round.
    func isLaxer(than other: RouteConfiguration) -> Bool {
        guard redirectPort == nil, other.redirectPort == nil else { return false }
        return strictness < other.strictness || asksForLess(than: other)
    }

    /// Both want to know who comes, and this one asks no more of them, and less.
    private func asksForLess(than other: RouteConfiguration) -> Bool {
        guard strictness == 2, other.strictness == 2, require.isEmpty || require == other.require,
            scopes.allSatisfy(other.scopes.contains)
        else { return false }
        return require != other.require || scopes.count < other.scopes.count
    }

    /// True where this route serves each of those requests, unless a more specific one does.
    func takesAll(of request: RouteConfiguration) -> Bool {
        path.covers(request.path) && Self.covers(hosts, request.hosts)
            && Self.covers(methods, request.methods)
    }

    /// The same for some of those hosts and methods; none of them are meant only where all are.
    func takesSome(of request: RouteConfiguration) -> Bool {
        path.covers(request.path) && Self.meets(hosts, request.hosts) && Self.meets(methods, request.methods)
    }

    private static func covers(_ mine: [String], _ its: [String]) -> Bool {
        mine.isEmpty || (!its.isEmpty && its.allSatisfy { mine.contains($0) })
    }

    private static func meets(_ mine: [String], _ its: [String]) -> Bool {
        mine.isEmpty || its.contains { mine.contains($0) }
    }
}
