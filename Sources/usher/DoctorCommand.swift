import ArgumentParser
import Config
import Control

/// `usher doctor`
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract:
            "Look at the surroundings of a configuration: backends, what else is asked, keys, ports, clocks, limits.",
        discussion: """
            Sends some harmless GET requests to the backends and says which; one GET each to servers of sessions and to the \
            collector of [tracing], which need only answer; asks introspection endpoints about a token that nobody has \
            issued; and logs in at the store of [shared]. Every finding that is not as it should be \
            comes with a remedy. Exits with 1 where something will not work, else with 0.
            """)

    @OptionGroup var file: ConfigurationOption

    func run() throws {
        let source = file.source()
        let (configuration, loaded) = try file.load(showsWarnings: true)
        try Console.output("ok    " + CheckCommand.summary(of: configuration, path: loaded.path, warnings: 0))
        var badCount = 0
        let doctor = Doctor(configuration, environment: source.environment) { finding in
            if finding.level == .bad { badCount += 1 }
            // Where that fails, so does the last line.
            try? DoctorCommand.show(finding)
        }
        doctor.examine()
        guard badCount > 0 else { return try Console.output("Nothing is in the way.") }
        try Console.output("\(Supervisor.counted(badCount, "thing")) to mend.")
        throw ExitCode.failure
    }

    private static func show(_ finding: Doctor.Finding) throws {
        let mark = finding.level.rawValue
        try Console.output(
            mark + String(repeating: " ", count: 6 - mark.count) + Console.harmless(finding.text))
        if let remedy = finding.remedy { try Console.output("      remedy: " + Console.harmless(remedy)) }
    }
}
