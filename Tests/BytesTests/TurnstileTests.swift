import Bytes
import Foundation
import Synchronization
import TensorModel
import TestSupport
import Testing

@Suite struct TurnstileTests {
  /// Runs each body in its own thread and waits for all of them.
  private func inThreads(_ bodies: [@Sendable () -> Void]) {
    let group = DispatchGroup()
    for body in bodies {
      group.enter()
      Thread.detachNewThread {
        body()
        group.leave()
      }
    }
    group.wait()
  }

  /// The numbers that callers recorded, in order.
  private final class Log: Sendable {
    private let state: Mutex<[Int]> = Mutex([])
    func add(_ number: Int) { state.withLock { $0.append(number) } }
    var numbers: [Int] { state.withLock { $0 } }
  }

  @Test("callers pass in the order of their numbers, not of their arrival")
  func order() {
    let (turnstile, log) = (Turnstile(), Log())
    let numbers = (0..<40).map { ($0 * 17) % 40 }
    inThreads(
      numbers.map { number in
        { _ = try? turnstile.pass(number) { () throws(ModelError) in log.add(number) } }
      })
    #expect(log.numbers == Array(0..<40))
  }

  @Test("the result of a body is returned") func results() throws {
    let turnstile = Turnstile()
    #expect(try turnstile.pass(0) { () throws(ModelError) in "first" } == "first")
    #expect(try turnstile.pass(1) { () throws(ModelError) in "second" } == "second")
  }

  @Test("abandoning a turnstile fails waiting and later callers")
  func abandonment() {
    let (turnstile, log) = (Turnstile(), Log())
    let waiting: [@Sendable () -> Void] = (1...5).map { number in
      {
        let error = Laws.error { () throws(ModelError) in
          try turnstile.pass(number) { () throws(ModelError) in log.add(number) }
        }
        if error?.kind == .interrupted { log.add(-number) }
      }
    }
    inThreads(waiting + [{ turnstile.abandon() }])
    #expect(log.numbers.sorted() == [-5, -4, -3, -2, -1])
    let error = Laws.error { () throws(ModelError) in
      try turnstile.pass(0) { () throws(ModelError) in }
    }
    #expect(error?.kind == .interrupted)
    let late = Laws.error { () throws(ModelError) in try turnstile.look(when: { true }, {}) }
    #expect(late?.kind == .interrupted)
  }

  @Test("a look waits until its condition holds, and takes no turn") func looking() throws {
    let (turnstile, log) = (Turnstile(), Log())
    inThreads([
      { _ = try? turnstile.look(when: { log.numbers.contains(1) }, { log.add(100) }) },
      { _ = try? turnstile.pass(1) { () throws(ModelError) in log.add(1) } },
      { _ = try? turnstile.pass(0) { () throws(ModelError) in log.add(0) } },
    ])
    #expect(log.numbers == [0, 1, 100])
    #expect(try turnstile.pass(2) { () throws(ModelError) in 2 } == 2)
  }
}
