extension ConfigurationReader {
    /// The `[log]` table, or its defaults.
    func log(_ section: Section) -> LogConfiguration {
        var log = LogConfiguration()
        guard let section = section.subsection("log", keys: Self.logKeys)
        else {
            return log
        }
        log.level = section.choice("level", default: log.level)
        if section.table["format"] != nil { log.format = section.choice("format", default: LogFormat.json) }
        if let access = section.string("access") { log.access = accessLog(access) }
        log.accessForm = section.choice("access_format", default: log.accessForm)
        let sample = section.subsection(
            "sample", keys: Self.statusClasses, title: "\"sample\" of [log]", meaning: Self.statusClass)
        if let sample {
            for (index, name) in Self.statusClasses.enumerated() {
                log.sample[index] = sample.share(name)
            }
        }
        if log.access == .off {
            section.warnOfNoEffect(["access_format", "sample"], "access = \"off\" writes no line")
        }
        return log
    }

    /// What other programs call such places, or none, and `format` here.
    private static let wordsOfOthers: Set<String> = [
        "stderr", "console", "syslog", "journal", "journald", "none", "null", "true", "false", "on", "yes",
        "no",
        "json", "text", "-",
    ]
    private static let logKeys = ["level", "format", "access", "access_format", "sample"]
    private static let statusClasses = ["1xx", "2xx", "3xx", "4xx", "5xx"]

    /// The class of a status, such as 200.
    private static func statusClass(_ status: String) -> String? {
        guard status.utf8.count == 3, let number = Int(status) else { return nil }
        return statusClasses.first { $0.hasPrefix("\(number / 100)") }
    }

    private func accessLog(_ text: Located<String>) -> AccessLogDestination {
        switch text.value {
        case "off": return .off
        case "stdout": return .standardOutput
        case "":
            loader.error(text.position, "\"access\" must be \"off\", \"stdout\" or a path")
            return .off
        default:
            // A typing mistake must not become a file of that name.
            let words = ["off", "stdout"]
            if !text.value.contains("/"), !text.value.contains("."),
                let word = Suggestion.nearest(to: text.value, among: words)
            {
                loader.error(
                    text.position, "\"access\" must be \"off\", \"stdout\" or a path, not \"\(text.value)\"",
                    didYouMean: word)
            } else if Self.wordsOfOthers.contains(text.value) {
                loader.error(
                    text.position,
                    "\"access\" must be \"off\", \"stdout\" or a path, not \"\(text.value)\"; "
                        + "a file of that name is \"./\(text.value)\"")
            }
            let path = loader.resolve(path: text.value)
            loader.warnUnlessWritable(path, text.position)
            return .file(path: path)
        }
    }
}
