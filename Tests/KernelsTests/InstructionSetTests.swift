import Kernels
import Testing

@Suite struct InstructionSetTests {
  @Test("the portable path is always available, and the best one is too")
  func best() {
    #expect(InstructionSet.available.first == .portable)
    #expect(InstructionSet.best.isAvailable)
    #expect(InstructionSet.available.last == InstructionSet.best)
  }
}
