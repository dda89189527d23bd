internal import Formats
public import TensorModel

/// An option without which a fold must not run, because it would lose a part of the adapter.
package struct MissingPermit: Sendable, Hashable {
  /// The option.
  package var permit: FoldPlanner.Permit
  /// The first tensor that needs the option.
  package var tensor: String
  /// Why the tensor loses a part of the adapter.
  package var reason: String
}

extension Plan {
  /// Whether a fold rounds codes or zero points, beyond the one rounding to the stored type.
  public var isLossy: Bool {
    guard !adapters.isEmpty else { return false }
    return jobs.contains { job in
      guard job.foldsAdapters else { return false }
      switch job.transform {
      case .encode(_, .groups): return job.source.isGrouped
      case .encode(_, .scaled): return job.source.isScaled
      case .moveMinima: return true
      case .regroup(let grouping, _): return grouping.offset == .zeroPoint
      case .encode(_, .rows), .copy, .rearrange, .omit: return false
      }
    }
  }

  /// Measures what a fold that is not exact would lose; to be called before the plan runs.
  ///
  /// It reads and computes all tensors that adapters change, and writes nothing.
  ///
  /// - Parameter workerCount: The number of worker threads; nil for one for each processor.
  /// - Returns: How exactly the adapters would be folded in; nil if `isLossy` is false.
  /// - Throws: What a run throws.
  public func measuredLoss(workerCount: Int? = nil) throws(ModelError) -> FoldReport? {
    isLossy ? try Run(self, workerCount: workerCount).measured() : nil
  }

  /// Checks that the options permit what a fold loses.
  ///
  /// `Run` checks it, too.
  ///
  /// - Parameter loss: The result of `measuredLoss`, for the message; nil if it was not measured.
  /// - Throws: `unsupported`, with the loss and the option that permits it.
  public func checkPermits(_ loss: FoldReport? = nil) throws(ModelError) {
    guard let missing = missingPermit else { return }
    let part = loss.map { Percentage.text($0.total.adapterError) } ?? "a part"
    throw ModelError(
      .unsupported, "the fold would lose \(part) of the adapter: \(missing.reason)",
      file: model.path, tensor: missing.tensor,
      expected: "\(missing.permit.rawValue) to accept the loss", hint: hint(for: missing.permit))
  }

  private var movesMinima: Bool {
    jobs.contains { if case .moveMinima = $0.transform { true } else { false } }
  }

  private func hint(for permit: FoldPlanner.Permit) -> String {
    switch permit {
    case .requantize:
      return "--dequantize writes 16-bit weights; --requantize quantizes the weights again; "
        + "folding into the 16-bit model before quantizing loses less"
    case .round where movesMinima:
      return
        "--round accepts the loss; a base in Q4_1 or Q5_1, as --type Q4_1 --pure makes it, takes "
        + "the adapter exactly"
    case .round:
      return "--round accepts the loss"
        + (format.bits.contains(8) ? "; --widen 8 makes the steps of zero points finer" : "")
        + (format.holds(.bias)
          ? "; --bias-type F16 stores biases instead of zero points"
          : "; --to mlx and --to gguf store biases instead of zero points")
    }
  }
}
