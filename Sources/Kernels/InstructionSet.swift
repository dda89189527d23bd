internal import CKernels

/// An instruction set that kernels are compiled for; every kernel gives the same bits with each.
///
/// Each set includes those before it. A kernel without a loop for a set uses the one before.
/// Kernels take it as their last argument. The default is `.best`. Tests and benchmarks also pass
/// the others.
package enum InstructionSet: CaseIterable, Sendable {
  /// Plain C, for any machine.
  case portable
  /// x86-64 with AVX2, FMA, F16C, SSE4.2 and PCLMULQDQ.
  case avx2
  /// The same with AVX-512, of Ice Lake, Zen 4 and later machines; for products of matrices.
  case avx512

  /// The fastest instruction set of this machine, determined once.
  package static let best: InstructionSet = available.last ?? .portable

  /// The instruction sets of this machine, slowest first.
  package static var available: [InstructionSet] {
    allCases.filter(\.isAvailable)
  }

  /// Whether this machine supports the instruction set; kernels must not be called with others.
  package var isAvailable: Bool {
    pleat_has_instructions(identifier)
  }

  var identifier: pleat_instructions {
    switch self {
    case .portable: PLEAT_PORTABLE
    case .avx2: PLEAT_AVX2
    case .avx512: PLEAT_AVX512
    }
  }
}
