import Proxy
import Reactor

// The supervisor's part where a server is asked about credentials: it lends its loop, and carries messages.

extension Supervisor {
    /// Passes on what workers ask.
    func noteQuestions() {
        let now = Instant.now()
        for question in crew.questions.receive() { verdicts.ask(question, poller, now: now) }
    }

    /// Does what is due, and tells the workers what the servers said.
    func runVerdicts() {
        verdicts.run(poller, now: Instant.now())
        for answer in verdicts.takeAnswers() { crew.send(answer) }
    }
}
