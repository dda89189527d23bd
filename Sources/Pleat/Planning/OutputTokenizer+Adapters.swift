internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel
internal import Weights

extension OutputTokenizer {
  /// A note for each adapter whose folder has another tokenizer than the output.
  ///
  /// Programs that train adapters store the tokenizer beside them, with the chat template and the
  /// end-of-text token of the training. Throws `io`.
  func notes(on adapters: [AppliedAdapter]) throws(ModelError) -> [String] {
    guard isStored else { return [] }
    var notes: [String] = []
    for adapter in adapters {
      guard let folder = adapter.file.folder, let donor = try TokenizerDonor(partIn: folder) else {
        continue
      }
      do throws(ModelError) {
        let differences = try differences(from: donor.reader)
        guard let last = differences.last else { continue }
        let list = differences.dropLast().joined(separator: ", ")
        notes.append(
          "\(adapter.file.name) comes with another \(list)\(list.isEmpty ? "" : " and ")\(last) "
            + "than the output has; "
            + (donor.isTokenizer
              ? "--tokenizer-from \(folder) takes what it comes with"
              : "without its tokenizer, the output keeps its own"))
      } catch {
        guard error.kind != .io else { throw error }
        notes.append("the tokenizer of \(adapter.file.name) cannot be read: \(error)")
      }
    }
    return notes
  }
}

extension AdapterFile {
  /// The folder of the adapter; nil if a model carries it, or if it is a file of llama.cpp.
  var folder: String? {
    guard !isAttached else { return nil }
    let path = FilePath(adapter.path)
    if FileSystem.kind(of: path) == .folder { return adapter.path }
    return Self.fileNames.contains(path.name) ? path.parentFolder.string : nil
  }
}
