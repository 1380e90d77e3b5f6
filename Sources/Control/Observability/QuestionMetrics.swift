import Config
import Policy
import Telemetry

/// What became of the questions to one server that judges credentials.
struct QuestionTally {
    private(set) var accepted: UInt64 = 0
    private(set) var refused: UInt64 = 0
    /// No answer, or none that says anything; those included that did not wait for one.
    var unavailable: UInt64 = 0
    /// From a question to its answer, or to when it was given up.
    private(set) var durations = LatencyHistogram()

    mutating func note(_ result: RemoteAnswer.Result, microseconds: Int64) {
        switch result {
        case .accepted: accepted += 1
        case .refused: refused += 1
        case .unavailable: unavailable += 1
        }
        durations.note(microseconds: microseconds)
    }
}

/// What the metrics say of such a server.
struct QuestionStatus {
    let source: String
    let tally: QuestionTally
    let open: Int
    let connections: Int

    /// The text of all families; empty without servers.
    static func metrics(_ all: [QuestionStatus]) -> String {
        guard !all.isEmpty else { return "" }
        var text = MetricFamilies()
        let questions = "usher_credential_questions_total"
        text.family(
            questions, "Credentials that a server was asked about, by what came of it.", "counter")
        for status in all {
            let tally = status.tally
            for (result, count) in [
                ("accepted", tally.accepted), ("refused", tally.refused), ("unavailable", tally.unavailable),
            ] {
                text.sample(questions, ["source": status.source, "result": result], count)
            }
        }
        let duration = "usher_credential_question_duration_seconds"
        text.family(
            duration, "From a question about a credential to its answer, or to its end without one.",
            "histogram")
        for status in all { text.histogram(duration, ["source": status.source], status.tally.durations) }
        let open = "usher_credential_questions_open"
        text.family(open, "Questions about credentials that wait for an answer now.", "gauge")
        for status in all { text.sample(open, ["source": status.source], status.open) }
        let connections = "usher_credential_connections"
        text.family(connections, "Connections to servers that are asked about credentials.", "gauge")
        for status in all { text.sample(connections, ["source": status.source], status.connections) }
        return text.text
    }
}

extension VerdictKeeper {
    /// What the metrics say of each server.
    var status: [QuestionStatus] {
        servers.map {
            QuestionStatus(
                source: $0.source.name, tally: $0.tally, open: $0.openQuestions, connections: $0.lines.count)
        }
    }
}
