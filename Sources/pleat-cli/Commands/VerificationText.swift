internal import Pleat

/// The report of `verify`.
struct VerificationText {
  private let verification: Verification
  private let model: Model
  private let console: Console
  private static let worstCount = 5

  init(_ verification: Verification, _ model: Model, _ console: Console) {
    self.verification = verification
    self.model = model
    self.console = console
  }

  /// One line for each check, then the failures, then the worst tensors.
  var lines: [String] {
    var table = Table([.left, .left, .left])
    table.add(
      "structure", ok(true),
      "\(Quantities.number(model.catalog.tensors.count, of: "tensor")), no gaps, no overlaps")
    let count = verification.checksumCount
    table.add(
      "checksums", count == 0 ? "none" : ok(verification.faults.isEmpty),
      count == 0
        ? "\(model.format.name) carries none"
        : "\(Quantities.exact(count)) compared"
          + (verification.faults.isEmpty
            ? "" : ", \(Quantities.number(verification.faults.count, of: "fault")) found"))
    let rejected = (verification.comparisons ?? []).filter { !verification.accepts($0) }
    if let worst = verification.comparisons?.max(by: { $0.relativeError < $1.relativeError }) {
      table.add(
        "faithful", ok(verification.isFaithful && verification.mismatches.isEmpty),
        "worst \(Quantities.short(worst.relativeError)) at \(worst.name.escaped) (relative RMS)")
    } else if verification.comparisons != nil {
      table.add("faithful", ok(verification.mismatches.isEmpty), "nothing to compare")
    }
    for note in verification.notes { table.add("tied", "", note) }
    if let fold = verification.fold {
      let folds = (verification.comparisons ?? []).filter { $0.fold != nil }
      let proven = folds.count { $0.fold?.isProven ?? false }
      table.add(
        "folded", proven == folds.count ? ok(true) : ok(verification.isFaithful),
        "\(Quantities.exact(proven)) of \(Quantities.number(folds.count, of: "tensor")) "
          + "proven weight by weight, " + FoldText.summary(fold))
      if let first = rejected.first {
        table.add(
          "", "",
          "\(Quantities.number(rejected.count, of: "tensor")) not as expected, "
            + "the first \(first.name.escaped)")
      }
    }
    return table.lines + problemLines + comparisonLines
  }

  private func ok(_ holds: Bool) -> String {
    holds ? console.style.success("ok") : console.style.failure("FAILED")
  }

  private var problemLines: [String] {
    (verification.faults + verification.mismatches).map { error in
      var error = error
      error.hint = nil
      return "  " + error.description.escaped
    }
  }

  private var comparisonLines: [String] {
    guard let comparisons = verification.comparisons, !comparisons.isEmpty else { return [] }
    let shown = console.isVerbose ? comparisons[...] : comparisons.prefix(Self.worstCount)
    var table = Table([.left, .right, .right, .right, .left])
    table.add("", "relative RMS", "largest error", "SNR", "")
    for comparison in shown {
      table.add(
        "  " + comparison.name.escaped, Quantities.short(comparison.relativeError),
        Quantities.short(comparison.largestError),
        comparison.relativeError == 0 ? "exact" : "\(Quantities.fixed(comparison.decibels, 1)) dB",
        comparison.encoding.description)
    }
    let rest = comparisons.count - shown.count
    return [""] + table.lines
      + (rest > 0 ? ["  \(Quantities.number(rest, of: "more tensor")) (--verbose shows all)"] : [])
  }
}
