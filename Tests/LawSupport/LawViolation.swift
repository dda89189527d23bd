/// What a law says, and how it was broken.
///
/// A law is a function that throws this error: any test, and the fuzzer, can call it.
package struct LawViolation: Error, CustomStringConvertible {
  /// What does not hold, and where.
  package let description: String

  package init(_ description: String) { self.description = description }
}

/// Throws a violation with a description unless a condition holds.
func require(_ holds: Bool, _ description: @autoclosure () -> String) throws(LawViolation) {
  guard holds else { throw LawViolation(description()) }
}

/// What `body` gives; its error is a violation of the law that nothing may fail.
func unfailing<Result>(
  _ what: String, _ body: () throws -> Result
) throws(LawViolation) -> Result {
  do {
    return try body()
  } catch {
    throw LawViolation("\(what) failed: \(error)")
  }
}

extension [Float] {
  /// The bits of each number: NaN equals NaN, and 0 is not −0.
  var bits: [UInt32] { map(\.bitPattern) }
}
