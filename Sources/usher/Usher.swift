import ArgumentParser

@main
struct Usher: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "usher")
}
