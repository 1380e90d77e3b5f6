import Reactor

/// What one load shares: where diagnostics go, and how strings, paths and files are looked up.
final class Loader {
    let environment: [String: String]
    let files: any FileSource
    /// The folder of the configuration file, with a slash at its end unless empty.
    let directory: String
    private(set) var diagnostics: [Diagnostic] = []
    /// What was read, or could not be, besides the configuration itself.
    private(set) var filesRead: [String] = []
    /// The same of those whose changes a running proxy takes in by itself.
    private(set) var renewedFiles: [String] = []
    /// Which state each of them was in before it was read.
    private(set) var stamps: [String: FileStamp] = [:]
    /// What of the file must not be shown.
    private(set) var concealment = Concealment()

    init(path: String, environment: [String: String], files: any FileSource) {
        self.environment = environment
        self.files = files
        directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    }

    func error(_ position: SourcePosition, _ message: Message, didYouMean suggestion: String? = nil) {
        report(.error, position, message, suggestion)
    }

    /// The same of a text that is no literal: all of it is taken for a quotation.
    @_disfavoredOverload
    func error(_ position: SourcePosition, _ message: String, didYouMean suggestion: String? = nil) {
        report(.error, position, Message(quoting: message), suggestion)
    }

    func warning(_ position: SourcePosition, _ message: Message) {
        report(.warning, position, message, nil)
    }

    /// The same of a text that is no literal: all of it is taken for a quotation.
    @_disfavoredOverload
    func warning(_ position: SourcePosition, _ message: String) {
        report(.warning, position, Message(quoting: message), nil)
    }

    /// The one way by which anything of the file gets into a message.
    private func report(
        _ severity: Diagnostic.Severity, _ position: SourcePosition, _ message: Message, _ suggestion: String?
    ) {
        func quotable(_ text: String) -> String { concealment.quotable(text, at: position) }
        diagnostics.append(
            Diagnostic(
                severity: severity, position: position, message: Self.onOneLine(message.text(quotable)),
                // Half of a suggestion is none.
                suggestion: suggestion.flatMap { quotable($0) == $0 ? Self.onOneLine($0) : nil }))
    }

    /// A message may quote what the file says; one diagnostic stays one line all the same.
    private static func onOneLine(_ text: String) -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            line.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0x7F ? "\u{FFFD}" : scalar)
        }
        return line
    }

    /// Warns of `$NAME`, which other programs expand: of a text that is nothing else, and of the name of a variable that there
    /// is. What it says is not repeated, since such a text may be a password.
    func warnOfBareVariable(_ text: String, at position: SourcePosition) {
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            rest = rest[rest.index(after: dollar)...]
            let name = String(rest.prefix { $0 == "_" || $0.isASCII && ($0.isUppercase || $0.isNumber) })
            guard name.utf8.count > 1, Self.isVariableName(name),
                text == "$" + name || environment[name] != nil
            else { continue }
            return warning(
                position, "\"$\" without braces is taken as it stands: a variable is written \"${NAME}\"")
        }
    }

    /// Whether something was found that keeps the configuration from being used.
    var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    /// Finds what of the file must not be shown, ahead of anything that is said about it.
    func conceal(_ root: TOMLNode) {
        let surroundings = Surroundings(variables: Set(environment.keys.map { $0.lowercased() })) { path in
            self.files.stamp(path: self.resolve(path: path)) != nil
        }
        concealment = Concealment(of: root, surroundings)
    }

    /// Whether nothing of the value that begins there is shown.
    func hides(valueAt position: SourcePosition) -> Bool { concealment.hides(valueAt: position) }

    /// Keeps what a text became by its variables out of everything that is shown.
    func note(
        _ written: String, became text: String, by values: [String: String], at position: SourcePosition
    ) {
        concealment.note(written, became: text, by: values, at: position)
    }

    /// Keeps a secret that was read out of everything that is shown.
    func note(secret: [UInt8], at position: SourcePosition) { concealment.note(secret: secret, at: position) }

    /// A path of the file: relative ones start at the configuration's folder.
    func resolve(path: String) -> String {
        path.utf8.first == UInt8(ascii: "/") ? path : directory + path
    }

    /// Warns where a file cannot be appended to. No error, for the place may be made before the start, and by another user
    /// than the one who looks.
    func warnUnlessWritable(_ path: String, _ position: SourcePosition) {
        guard let reason = files.obstacle(to: .appending, at: path) else { return }
        warning(
            position,
            "\"\(path)\" cannot be written to: \(reason); name a file in a folder that the user of the process may write to"
        )
    }

    /// The same of a Unix socket that is to be listened on.
    func warnUnlessListenable(_ path: String, _ position: SourcePosition) {
        guard let reason = files.obstacle(to: .listening, at: path) else { return }
        warning(
            position,
            "\"\(path)\" cannot be listened at: \(reason); name a place for a socket, in a folder that the user of the process may "
                + "write to")
    }

    /// The file's bytes, or an error at `position`.
    func read(path: String, at position: SourcePosition) -> [UInt8]? {
        let resolved = resolve(path: path)
        stamp(resolved)
        filesRead.append(resolved)
        return readUnwatched(path: path, at: position)
    }

    /// The same of a file of a certificate: once the configuration is in force, what replaces it is used without a reload.
    func readRenewed(path: String, at position: SourcePosition) -> [UInt8]? {
        let resolved = resolve(path: path)
        stamp(resolved)
        renewedFiles.append(resolved)
        return readUnwatched(path: path, at: position)
    }

    /// From before it is read for the first time.
    private func stamp(_ resolved: String) {
        guard !filesRead.contains(resolved), !renewedFiles.contains(resolved) else { return }
        stamps[resolved] = files.stamp(path: resolved)
    }

    /// The same of a file whose changes somebody else looks after: none of them is a reason to reload.
    func readUnwatched(path: String, at position: SourcePosition) -> [UInt8]? {
        let resolved = resolve(path: path)
        switch files.read(path: resolved) {
        case .contents(let bytes): return bytes
        case let failure:
            error(position, "cannot read \"\(resolved)\": \(failure.reason ?? "")")
            return nil
        }
    }
}

/// A value and where the file says it.
struct Located<Value> {
    var value: Value
    var position: SourcePosition
}

extension Located: Equatable where Value: Equatable {}
