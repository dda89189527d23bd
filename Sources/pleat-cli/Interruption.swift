internal import Dispatch
internal import Pleat

/// Turns Ctrl-C and a polite kill into a request to stop, so that nothing unfinished stays behind.
final class Interruption {
  /// Set when a signal has come.
  let cancellation = Cancellation()
  private var sources: [any DispatchSourceSignal] = []

  /// Listens from now on.
  init() {
    for number in Terminal.stopSignals {
      Terminal.ignore(number)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [cancellation] in cancellation.request() }
      source.resume()
      sources.append(source)
    }
  }
}
