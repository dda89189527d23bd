internal import Dispatch
internal import Pleat

/// Turns SIGINT, SIGTERM and SIGHUP into a request to stop, so that unfinished files are removed.
final class Interruption {
  /// The cancellation that a signal requests.
  let cancellation = Cancellation()
  private var sources: [any DispatchSourceSignal] = []

  /// Starts to listen for the signals.
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
