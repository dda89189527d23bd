import Testing

@testable import Kernels

@Suite struct InstructionSetTests {
  @Test("every machine has the portable path, and the best one is available")
  func best() {
    #expect(InstructionSet.available.first == .portable)
    #expect(InstructionSet.best.isAvailable)
    #expect(InstructionSet.available.last == InstructionSet.best)
  }
}
