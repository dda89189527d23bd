package import Adapters
package import Quantization
package import TensorModel

/// How a tensor of the source becomes a tensor of the target.
package enum Transform: Sendable {
  /// The bytes are copied.
  case copy
  /// Rows are decoded to floats, edited in order, and encoded.
  case encode([RowEdit], Encoder)
  /// The codes are kept, in groups that may have another offset, parameter type or code width.
  ///
  /// Adapters with pooled inputs change the offsets.
  case regroup(Grouping, offsetMoves: [PairedChange])
  /// Codes and scales keep their values, and their bytes are arranged anew: MXFP4 and NVFP4 in
  /// blocks, or not. A factor that divides becomes one that multiplies.
  case rearrange
  /// Blocks keep their codes and scales, and adapters with pooled inputs change the minima.
  case moveMinima([PairedChange])
  /// The tensor is left out, because the target computes it or cannot store it.
  case omit
}

/// A change of rows of floats, before they are encoded.
package enum RowEdit: Sendable, Hashable {
  /// An adapter adds to the rows, scales them, or replaces them.
  case adapter(PairedChange)
  /// 1 is added to every number, as llama.cpp expects in the norms of some models, or −1.
  case add(Float)
}

/// How rows of floats are written.
package enum Encoder: Sendable {
  /// As plain numbers, or as blocks of a block type.
  case rows(any RowEncoder)
  /// As groups, whose offsets are then changed by adapters with pooled inputs.
  case groups(any Quantizer, offsetMoves: [PairedChange] = [])
  /// As codes that are numbers themselves, with a scale for each group.
  case scaled(ScaledEncoder)

  /// As plain numbers of F16, BF16 or F32.
  package static func plain(_ type: ScalarType) -> Encoder {
    guard let encoder = PlainEncoder(type) else {
      preconditionFailure("planners decode to F16, BF16 and F32 only")
    }
    return .rows(encoder)
  }

  /// The type of plain numbers; nil for groups and blocks.
  var plainType: ScalarType? {
    if case .rows(let encoder) = self { encoder.plainType } else { nil }
  }
}

extension RowEncoder {
  /// The type of plain numbers; nil for blocks.
  var plainType: ScalarType? {
    if case .plain(let type) = encoding { type } else { nil }
  }
}

extension Transform {
  /// Whether the tensor is left out.
  var isOmission: Bool { if case .omit = self { true } else { false } }

  /// The changes that adapters make to rows of floats, in order.
  package var adapterEdits: [PairedChange] {
    guard case .encode(let edits, _) = self else { return [] }
    return edits.compactMap { if case .adapter(let change) = $0 { change } else { nil } }
  }

  /// The changes that adapters make to the offsets of groups, in order.
  package var offsetMoves: [PairedChange] {
    switch self {
    case .encode(_, .groups(_, let moves)), .regroup(_, let moves), .moveMinima(let moves): moves
    case .encode, .copy, .rearrange, .omit: []
    }
  }

  /// Whether adapters change the tensor.
  package var foldsAdapters: Bool {
    guard case .encode(let edits, let encoder) = self else { return !offsetMoves.isEmpty }
    if case .groups(_, let moves) = encoder, !moves.isEmpty { return true }
    // Workers ask for every block: nothing is allocated.
    return edits.contains { if case .adapter = $0 { true } else { false } }
  }

  /// What is added to every number, besides adapters.
  var addend: Float {
    guard case .encode(let edits, _) = self else { return 0 }
    return edits.reduce(0) { if case .add(let number) = $1 { $0 + number } else { $0 } }
  }
}

/// What is done with a tensor, as reports name it.
public enum Action: String, Sendable, Hashable, CaseIterable {
  /// Its bytes are copied.
  case copy
  /// It is rounded to groups.
  case quantize
  /// It becomes plain numbers of a type.
  case decode
  /// Codes, scales and offsets are written unchanged in the target's layout.
  case repack
  /// Adapters are added to plain numbers, which are rounded once to their type.
  case merge
  /// The offsets of groups change. Codes do not, but wider codes are multiplied by a factor.
  case shift
  /// A tensor of an adapter replaces it.
  case replace
  /// It is left out, because the target computes it or cannot store it.
  case omit
}

extension Transform {
  /// The action on a tensor with an encoding.
  func action(on source: Encoding) -> Action {
    switch self {
    case .copy: return .copy
    case .omit: return .omit
    case .moveMinima: return .shift
    case .rearrange: return .repack
    case .encode(_, .groups): return .quantize
    case .encode(_, let encoder):
      guard encoder.plainType != nil else { return .quantize }
      let changes = adapterEdits
      guard let first = changes.first else { return .decode }
      return changes.count == 1 && first.isReplacement ? .replace : .merge
    case .regroup(let grouping, let moves):
      return moves.isEmpty && source == .grouped(grouping) ? .repack : .shift
    }
  }
}
