import ArgumentParser

/// A time span on the command line, in whole seconds: `90s`, `5m`, `1h`, `7d`; below zero for a token that is over.
struct Lifetime: ExpressibleByArgument, Equatable, CustomStringConvertible {
    /// Ten years: what lives longer is no token.
    private static let limitSeconds: Int64 = 10 * 366 * 86_400

    /// The span in seconds.
    let seconds: Int64

    /// The span of so many seconds.
    init(seconds: Int64) {
        self.seconds = seconds
    }

    /// The span of that text; nil where there is no unit, or it is beyond ten years.
    init?(argument: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = argument.last, let factor = units[unit], !argument.hasPrefix("+"),
            let count = Int64(argument.dropLast())
        else { return nil }
        let (seconds, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow, seconds.magnitude <= Self.limitSeconds.magnitude else { return nil }
        self.seconds = seconds
    }

    /// In seconds, as it may be written.
    var description: String { "\(seconds)s" }
}
