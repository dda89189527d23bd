internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// The metadata of an output, and the notes about what it cannot store.
enum OutputMetadata {
  /// The metadata of the model, updated for the tensors and the format of the output.
  ///
  /// `record` is the mix of the output; nil without one.
  static func metadata(
    _ metadata: Metadata, isTranslated: Bool, _ jobs: [TensorJob], _ format: Format,
    _ history: [JSONValue], _ record: MixRecord?
  ) -> Metadata {
    let jobs = jobs.lazy.filter { $0.action != .omit }
    let isChanged = jobs.contains {
      switch $0.action {
      case .quantize, .decode, .shift: true
      case .merge, .replace: $0.kind.value.source.isGrouped
      case .copy, .repack, .omit: false
      }
    }
    var metadata = metadata
    if let record, isChanged || isTranslated, metadata["general.architecture"] != nil {
      metadata = GGUFFileType.updated(metadata, for: record.mix, matrix: record.matrix)
    } else if isChanged || isTranslated {
      metadata = GGUFFileType.updated(metadata, for: jobs.map(\.target))
    }
    if jobs.contains(where: { $0.kind.value.source.hasParts }) {
      metadata = TorchAOWeights.removingDescriptions(from: metadata)
    }
    let marks = Formats.all.compactMap(\.metadataMark)
    if let mark = metadata["format"]?.text, marks.contains(mark) { metadata["format"] = nil }
    if let mark = format.metadataMark { metadata["format"] = .text(mark) }
    // A second fold of the same adapter must be detected in files without provenance, too.
    let folds = history.filter { $0["adapters"] != nil }
    let needsHistory = !folds.isEmpty && !format.container.features.contains(.provenance)
    metadata[Provenance.historyKey] =
      needsHistory ? .text(JSONWriter.text(.array(folds))) : nil
    return metadata
  }

  /// Notes about companions and metadata that the format cannot store.
  static func losses(
    of model: Model, in layout: any OutputLayout, _ format: Format
  ) -> [String] {
    var notes: [String] = []
    if !layout.holdsCompanions && !model.catalog.companions.isEmpty {
      let names = model.catalog.companions.map(\.name).joined(separator: ", ")
      notes.append("\(layout.fileNames.first ?? format.name) cannot store \(names)")
    }
    if !format.container.features.contains(.typedMetadata) {
      let count = model.catalog.metadata.entries.count { $0.value.text == nil }
      if count > 0 {
        notes.append("\(format.name) cannot store \(count) metadata entries that are not text")
      }
    }
    return notes
  }
}
