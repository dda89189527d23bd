internal import CKernels

/// The instructions that a kernel is compiled for; every kernel gives the same bits with each.
///
/// Kernels take one as their last argument: `.best` unless a test or a benchmark asks otherwise.
package enum InstructionSet: CaseIterable, Sendable {
  /// Plain C, for any machine.
  case portable
  /// x86-64 with AVX2, F16C, SSE4.2 and PCLMULQDQ.
  case avx2

  /// The fastest one that this machine has, looked up once.
  package static let best: InstructionSet = avx2.isAvailable ? .avx2 : .portable

  /// Those that this machine has, slowest first.
  package static var available: [InstructionSet] {
    allCases.filter(\.isAvailable)
  }

  /// Whether this machine can run it; asking a kernel for another one is a mistake.
  package var isAvailable: Bool {
    pleat_has_instructions(identifier)
  }

  var identifier: pleat_instructions {
    switch self {
    case .portable: PLEAT_PORTABLE
    case .avx2: PLEAT_AVX2
    }
  }
}
