import ArgumentParser
import Reactor

/// What commands say to people.
enum Console {
    /// Writes to the standard error.
    static func error(_ text: String) {
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            guard case .bytes(let count) = OutputFile.standardError.write(bytes.span.extracting(written...))
            else {
                return
            }
            written += count
        }
    }

    /// Writes a result to the standard output, and ends the command where that cannot be done: a token or a table that
    /// nobody gets is no success.
    static func output(_ text: String, terminator: String = "\n") throws {
        let bytes = Array((text + terminator).utf8)
        var written = 0
        while written < bytes.count {
            switch OutputFile.standardOutput.write(bytes.span.extracting(written...)) {
            case .bytes(let count): written += count
            case .failed(let error): throw fail("cannot write to the standard output: \(error)")
            case .wouldBlock, .endOfStream: throw fail("cannot write to the standard output")
            }
        }
    }

    /// Ends the command with status 1 and one line on the standard error.
    static func fail(_ message: String) -> ExitCode {
        error("usher: \(message)\n")
        return ExitCode.failure
    }

    /// Text in which nothing steers a terminal or pretends to run another way: control characters and the marks that
    /// turn the direction of text become `\u{…}`.
    static func harmless(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if isHarmless(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return result
    }

    /// True for what a terminal shows as it is.
    static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            false
        default: true
        }
    }
}
